//! What is asked of the rows of wanted copies.

/// The columns of which a row is read.
macro_rules! columns {
    () => {
        "id, turn, epoch, number, names, version, client, is_asked, stage, \
         is_fetching AND until > now() AS is_fetching, copy, size, fetched, error, pause"
    };
}

pub(super) const LOOK: &str = concat!("SELECT ", columns!(), " FROM wanted WHERE id = $1");
pub(super) const LOOK_AT_TURN: &str =
    concat!("SELECT ", columns!(), " FROM wanted WHERE turn = $1");
pub(super) const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM wanted WHERE number > $1 ORDER BY number LIMIT $2"
);
pub(super) const CHANGES: &str =
    "SELECT count(*) AS all, coalesce(max(changed), 0) AS last FROM wanted";

/// What is at its end begins anew.
pub(super) const ASK: &str = "WITH there AS ( \
         SELECT coalesce(sum(places), 0) AS open, \
         coalesce(sum(places) FILTER (WHERE client = $4 AND is_asked), 0) AS own \
         FROM wanted WHERE stage = 'o' AND id <> $1), \
     fits AS ( \
         SELECT open + $3::bigint <= $5::bigint AS all_fit, \
         $4 = ''::bytea OR own + $3::bigint <= $6::bigint AS own_fit FROM there), \
     made AS ( \
         INSERT INTO wanted (id, names, places, client, is_asked, size) \
         SELECT $1, $2, $3::bigint, $4, true, $7::bigint FROM fits \
         WHERE all_fit AND own_fit AND $8::bigint IS NULL \
         ON CONFLICT (id) DO NOTHING RETURNING 1), \
     begun AS ( \
         UPDATE wanted SET names = $2, places = $3::bigint, client = $4, is_asked = true, \
         version = version + 1, stage = 'o', number = nextval('wanted_numbers'), \
         turn = gen_random_uuid(), epoch = 0, node = NULL, until = NULL, is_fetching = false, \
         size = $7::bigint, fetched = 0, error = NULL, due = now(), pause = 1, \
         changed = nextval('wanted_changes') \
         FROM fits WHERE id = $1 AND version = $8::bigint AND stage <> 'o' \
         AND all_fit AND own_fit RETURNING 1), \
     named AS ( \
         UPDATE wanted SET names = $2, places = $3::bigint, client = $4, is_asked = true, \
         version = version + 1, changed = nextval('wanted_changes') \
         FROM fits WHERE id = $1 AND version = $8::bigint AND stage = 'o' \
         AND all_fit AND own_fit RETURNING 1) \
     SELECT all_fit, own_fit, EXISTS (SELECT FROM made) OR EXISTS (SELECT FROM begun) \
     OR EXISTS (SELECT FROM named) AS is_done FROM fits";
pub(super) const NOTE: &str = "INSERT INTO wanted (id, names, places, client, is_asked, stage, size, fetched, copy) \
     VALUES ($1, $2, 1, '', true, 'k', $3, $3, $4) \
     ON CONFLICT (id) DO UPDATE SET names = excluded.names, places = 1, client = '', \
     version = wanted.version + 1, stage = 'k', number = nextval('wanted_numbers'), \
     size = excluded.size, fetched = excluded.size, copy = excluded.copy, error = NULL, \
     changed = nextval('wanted_changes') WHERE wanted.stage <> 'o'";
pub(super) const GIVE_WAY: &str = "DELETE FROM wanted WHERE id = ( \
         SELECT id FROM wanted AS vain WHERE stage = 'o' AND is_asked AND error IS NOT NULL \
         AND fetched = 0 AND NOT (is_fetching AND until > now()) \
         AND ($1 = ''::bytea OR client = $1) \
         ORDER BY (SELECT sum(places) FROM wanted AS own WHERE own.client = vain.client \
         AND own.stage = 'o' AND own.is_asked) DESC, number LIMIT 1) RETURNING id";
pub(super) const REMOVE: &str = concat!("DELETE FROM wanted WHERE id = $1 RETURNING ", columns!());
pub(super) const REMOVE_UNASKED: &str =
    "DELETE FROM wanted WHERE id = $1 AND NOT is_asked AND stage = 'o'";

/// The names that were found before are not those of whoever has the turn.
macro_rules! taken {
    () => {
        "epoch = wanted.epoch + 1, version = wanted.version + 1, node = $1, \
         until = now() + make_interval(secs => $2), changed = nextval('wanted_changes')"
    };
}
pub(super) const CLAIM: &str = concat!(
    "UPDATE wanted SET ",
    taken!(),
    ", is_fetching = true, fetched = 0 WHERE id = ( \
         SELECT id FROM wanted WHERE stage = 'o' AND is_asked AND due <= now() \
         AND (until IS NULL OR until < now()) ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED) \
     RETURNING ",
    columns!()
);
pub(super) const RECLAIM: &str = concat!(
    "UPDATE wanted SET ",
    taken!(),
    ", is_fetching = false WHERE node = $1 AND stage = 'o' AND is_asked RETURNING ",
    columns!()
);
pub(super) const CLAIM_UNASKED: &str = concat!(
    "INSERT INTO wanted (id, names, places, client, is_asked, size, epoch, node, until, \
     is_fetching) \
     VALUES ($3, $4, 1, '', false, $5, 1, $1, now() + make_interval(secs => $2), true) \
     ON CONFLICT (id) DO UPDATE SET ",
    taken!(),
    ", names = excluded.names, places = 1, client = '', is_asked = false, stage = 'o', \
     number = nextval('wanted_numbers'), size = excluded.size, fetched = 0, error = NULL, \
     is_fetching = true \
     WHERE wanted.stage <> 'o' \
     OR (NOT wanted.is_asked AND (wanted.until IS NULL OR wanted.until < now())) RETURNING ",
    columns!()
);
pub(super) const RENEW: &str = "UPDATE wanted SET until = now() + make_interval(secs => $1), \
     is_fetching = it.is_fetching, size = it.size, fetched = it.fetched, error = it.error, \
     changed = CASE WHEN (wanted.is_fetching, wanted.size, wanted.fetched, wanted.error) \
         IS DISTINCT FROM (it.is_fetching, it.size, it.fetched, it.error) \
         THEN nextval('wanted_changes') ELSE changed END \
     FROM unnest($2::uuid[], $3::bigint[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bytea[]) \
         AS it(turn, epoch, is_fetching, size, fetched, error) \
     WHERE wanted.turn = it.turn AND wanted.epoch = it.epoch AND stage = 'o' \
     RETURNING wanted.turn";
pub(super) const LET_GO: &str = "UPDATE wanted SET until = NULL, is_fetching = false, fetched = 0, \
     error = $3, due = now() + make_interval(secs => $4), pause = $5, \
     changed = nextval('wanted_changes') WHERE turn = $1 AND epoch = $2 AND stage = 'o'";
pub(super) const LEAVE: &str = "WITH gone AS ( \
         DELETE FROM wanted WHERE turn = $1 AND epoch = $2 AND stage = 'o' AND NOT is_asked) \
     UPDATE wanted SET until = NULL, is_fetching = false, fetched = 0, \
     changed = nextval('wanted_changes') \
     WHERE turn = $1 AND epoch = $2 AND stage = 'o' AND is_asked";
pub(super) const LEAVE_ALL: &str = "UPDATE wanted SET until = NULL, is_fetching = false, \
     changed = nextval('wanted_changes') WHERE node = $1 AND stage = 'o' AND is_asked";
pub(super) const DROP_UNASKED: &str =
    "DELETE FROM wanted WHERE node = $1 AND stage = 'o' AND NOT is_asked";
pub(super) const END: &str = "UPDATE wanted SET stage = $4, names = $5, copy = $6, error = $7, \
     size = $8, fetched = $9, until = NULL, is_fetching = false, \
     changed = nextval('wanted_changes') \
     WHERE turn = $1 AND epoch = $2 AND version = $3 AND stage = 'o' RETURNING id";

pub(super) const LEAD: &str = "UPDATE keeping_all \
     SET epoch = CASE WHEN epoch = $1 THEN epoch ELSE epoch + 1 END, \
     until = now() + make_interval(secs => $2) WHERE epoch = $1 OR until < now() RETURNING epoch";
pub(super) const FOLLOW: &str = "UPDATE keeping_all SET until = now() - interval '1 s', \
     epoch = epoch + 1 WHERE epoch = $1";
pub(super) const NOTE_REMOVED: &str = "INSERT INTO removed_contents (hash) VALUES ($1) \
     ON CONFLICT (hash) DO UPDATE SET at = now()";
pub(super) const WAS_REMOVED: &str = "SELECT FROM removed_contents WHERE hash = $1";
pub(super) const NOTE_UNHASHED: &str = "INSERT INTO kept_without_hash (id, hash) \
     SELECT $1, $2 WHERE (SELECT count(*) FROM kept_without_hash) < $3 \
     ON CONFLICT (id) DO UPDATE SET hash = excluded.hash";
pub(super) const UNHASHED: &str = "SELECT hash FROM kept_without_hash WHERE id = $1";
/// What no user has asked for is found anew where the node is gone that fetched it.
pub(super) const TIDY: &str = "DELETE FROM wanted WHERE id IN ( \
         (SELECT id FROM wanted WHERE stage <> 'o' ORDER BY number DESC OFFSET $1) \
         UNION ALL \
         SELECT id FROM wanted WHERE stage = 'o' AND NOT is_asked \
         AND until < now() - make_interval(secs => $2))";
/// What has come back was not removed for good.
pub(super) const TIDY_REMOVED: &str = "DELETE FROM removed_contents WHERE hash IN ( \
         (SELECT hash FROM removed_contents ORDER BY at DESC OFFSET $1) \
         UNION ALL \
         SELECT hash FROM removed_contents WHERE at < now() - make_interval(secs => $2) \
         AND EXISTS (SELECT FROM blobs WHERE blobs.hash = removed_contents.hash))";
