//! `GET /metrics`: what the node counts, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::connection_metrics;
use super::status::check_writable;
use crate::access::Access;
use crate::fetch::copies::Copies;
use crate::index::Totals;
use crate::metrics::page::{CONTENT_TYPE, MetricsPage};
use crate::metrics::servers::Named;
use crate::node::Node;
use crate::peer::membership::{Channel, Handshakes, Standing};
use crate::store::DiskUse;
use crate::web::error::ApiError;
use crate::web::traffic::Traffic;

/// Tells everything.
pub(super) async fn metrics(
    State(node): State<Arc<Node>>,
    State(traffic): State<Arc<Traffic>>,
    State(access): State<Arc<Access>>,
) -> Result<Response, ApiError> {
    let counted = node.store().disk_use().await?;
    let mut page = MetricsPage::default();
    write_build(&mut page);
    write_store(&mut page, &node);
    let checked = check_writable(&node, &access).await;
    write_writable(&mut page, checked.is_ok());
    write_scrub(&mut page, &node);
    write_repair(&mut page, &node);
    write_copies(&mut page, &node);
    write_files(&mut page, &counted);
    write_syncs(&mut page, &node);
    write_servers(&mut page, &node);
    let network_files = node.network_files().await;
    write_peers(&mut page, &node, network_files);
    connection_metrics::write(&mut page, &node);
    traffic.write(&mut page);
    let content_type = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    Ok((content_type, page.into_text()).into_response())
}

fn write_build(page: &mut MetricsPage) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauges("larder_build_info", "Always 1.")
        .value(&version, 1);
}

fn write_store(page: &mut MetricsPage, node: &Node) {
    let Totals {
        files,
        bytes,
        blobs,
        blob_bytes,
        ..
    } = node.store().totals();
    let trash = node.store().trash_totals();
    for (name, help, value) in [
        ("larder_files", "Files kept.", files),
        ("larder_file_bytes", "The sum of their sizes.", bytes),
        ("larder_blobs", "Different contents among them.", blobs),
        (
            "larder_blob_bytes",
            "The sum of the sizes of these.",
            blob_bytes,
        ),
        (
            "larder_deduplicated_bytes",
            "What is saved, since equal contents are kept once.",
            (bytes + trash.bytes).saturating_sub(blob_bytes),
        ),
        (
            "larder_trash_files",
            "Files that were removed and can be brought back.",
            trash.files,
        ),
        ("larder_trash_bytes", "The sum of their sizes.", trash.bytes),
    ] {
        page.gauges(name, help).value(&[], value);
    }
    let damage = node.store().damage();
    page.gauges("larder_damaged_blobs", "Contents known to be damaged.")
        .value(&[], damage.known);
    page.counters(
        "larder_blob_damage_found_total",
        "How often content was found damaged.",
    )
    .value(&[], damage.found);
    let unreadable = "Contents that could not be read the last time.";
    page.gauges("larder_unreadable_blobs", unreadable)
        .value(&[], damage.unreadable);
    page.counters(
        "larder_blob_read_errors_total",
        "How often the disk failed to give stored content.",
    )
    .value(&[], damage.read_errors);
    let reads = node.store().hot_reads();
    page.counters(
        "larder_hot_reads_total",
        "Files asked for by id, by whether they were in memory.",
    )
    .value(&[("in_memory", "yes")], reads.hits.get())
    .value(&[("in_memory", "no")], reads.misses.get());
}

fn write_writable(page: &mut MetricsPage, writable: bool) {
    let help = "0 while an upload would fail, else 1.";
    page.gauges("larder_writable", help)
        .value(&[], u8::from(writable));
}

fn write_repair(page: &mut MetricsPage, node: &Node) {
    let repair = node.repair();
    for (name, help, counter) in [
        (
            "larder_repaired_blobs_total",
            "Contents that were not whole and came again from peers.",
            &repair.repaired,
        ),
        (
            "larder_repair_failures_total",
            "How often that failed although a peer claims to have the content.",
            &repair.failed,
        ),
        (
            "larder_repair_fetched_bytes_total",
            "Bytes that peers have brought for that.",
            &repair.fetched,
        ),
    ] {
        page.counters(name, help).value(&[], counter.get());
    }
    page.gauges(
        "larder_unobtainable_blobs",
        "Contents that are not whole and that no known peer has.",
    )
    .value(&[], repair.to_repair().unobtainable);
}

fn write_copies(page: &mut MetricsPage, node: &Node) {
    let Some(copies) = node.copies() else {
        return;
    };
    let (counts, held) = (copies.counts(), copies.held());
    for (name, help, value) in [
        (
            "larder_copied_files",
            "Own files that are to have copies, and those of members that are gone.",
            counts.files,
        ),
        (
            "larder_under_replicated",
            "Those of them that fewer members hold than are to.",
            counts.under_replicated,
        ),
        (
            "larder_held_copies",
            "Files of other members that are held.",
            held.files,
        ),
        (
            "larder_held_copy_bytes",
            "How long these contents are.",
            held.bytes,
        ),
        (
            "larder_offered_bytes",
            "How many bytes of them are held at most.",
            copies.options().offer,
        ),
        (
            "larder_remembered_removals",
            "Files that owners have removed, as whoever was away is told.",
            copies.remembered(),
        ),
        (
            "larder_copy_members_gone",
            "Members that are gone.",
            counts.gone,
        ),
    ] {
        page.gauges(name, help).value(&[], value);
    }
    count_copies(page, copies);
    write_care_of_copies(page, node);
}

fn write_care_of_copies(page: &mut MetricsPage, node: &Node) {
    let (Some(copies), Some((scrub, repair))) = (node.copies(), node.care_of_copies()) else {
        return;
    };
    let damage = copies.store().damage();
    page.gauges(
        "larder_damaged_copies",
        "Held contents known to be damaged.",
    )
    .value(&[], damage.known);
    let unreadable = "Held contents that could not be read the last time.";
    page.gauges("larder_unreadable_copies", unreadable)
        .value(&[], damage.unreadable);
    let repaired = "Held contents that were not whole and came again from others.";
    page.counters("larder_repaired_copies_total", repaired)
        .value(&[], repair.repaired.get());
    let read = "Bytes of held content that the scrub has read and proven.";
    page.counters("larder_copies_scrub_read_bytes_total", read)
        .value(&[], scrub.read.get());
    let rounds = "How often the scrub has come through all that is held.";
    page.counters("larder_copies_scrub_rounds_total", rounds)
        .value(&[], scrub.ended.get());
    let Some(rounds) = scrub.rounds() else {
        return;
    };
    page.gauges(
        "larder_copies_scrub_ended_timestamp_seconds",
        "When it last did, in seconds since 1970; 0 if it never has.",
    )
    .value(&[], rounds.last.map_or(0, |it| it.ended_at / 1000));
}

fn count_copies(page: &mut MetricsPage, copies: &Copies) {
    for (name, help, counter) in [
        (
            "larder_copies_made_total",
            "Copies that were made for other members.",
            &copies.made,
        ),
        (
            "larder_copy_failures_total",
            "How often that failed.",
            &copies.failed,
        ),
        (
            "larder_copies_fetched_bytes_total",
            "Bytes that other members have brought for that.",
            &*copies.fetched,
        ),
        (
            "larder_copies_dropped_total",
            "Copies that were given up because there were too many.",
            &copies.surplus,
        ),
        (
            "larder_copies_withdrawn_total",
            "Copies that were given up because their owners had removed the files.",
            &copies.withdrawn,
        ),
        (
            "larder_copies_looked_at_total",
            "How often it was looked on how many members an own file is.",
            &copies.looked,
        ),
    ] {
        page.counters(name, help).value(&[], counter.get());
    }
}

fn write_scrub(page: &mut MetricsPage, node: &Node) {
    let scrub = node.scrub();
    let Some(rounds) = scrub.rounds() else {
        return;
    };
    page.counters(
        "larder_scrub_read_bytes_total",
        "Bytes of stored content that the scrub has read and proven.",
    )
    .value(&[], scrub.read.get());
    page.counters(
        "larder_scrub_rounds_total",
        "How often the scrub has come through everything.",
    )
    .value(&[], scrub.ended.get());
    let round = rounds.now.as_ref();
    page.gauges(
        "larder_scrub_round_bytes",
        "Bytes that the round under way has read, restarts included; 0 between two.",
    )
    .value(&[], round.map_or(0, |it| it.done.bytes));
    let last = rounds.last.as_ref();
    page.gauges(
        "larder_scrub_problems",
        "Files beside the contents, such as the journal, that the last round has found damaged.",
    )
    .value(&[], last.map_or(0, |it| it.done.problems));
    let ended = last.map_or(0, |it| it.ended_at / 1000);
    page.gauges(
        "larder_scrub_ended_timestamp_seconds",
        "When the last round came to its end, in seconds since 1970; 0 if none has.",
    )
    .value(&[], ended);
}

fn write_files(page: &mut MetricsPage, counted: &[(&'static str, DiskUse)]) {
    let mut count = page.gauges(
        "larder_directory_files",
        "Files in a part of the storage directory; an upload under way has two in the spool.",
    );
    for (name, files) in counted {
        count.value(&[("directory", name)], files.count);
    }
    let mut bytes = page.gauges("larder_directory_bytes", "The sum of their lengths.");
    for (name, files) in counted {
        bytes.value(&[("directory", name)], files.bytes);
    }
}

fn write_syncs(page: &mut MetricsPage, node: &Node) {
    let syncs = node.store().storage().syncs();
    let mut seconds = page.histograms(
        "larder_sync_seconds",
        "How long the disk takes to make a write durable, by what is written.",
    );
    for (what, histogram) in [
        ("journal", &syncs.journal),
        ("packs", &syncs.packs),
        ("files", &syncs.files),
        ("directories", &syncs.directories),
    ] {
        seconds.durations(&[("what", what)], histogram);
    }
}

fn write_servers(page: &mut MetricsPage, node: &Node) {
    let Some(servers) = node.store().storage().servers() else {
        return;
    };
    let requests = servers.bucket.each();
    let total = (
        "larder_s3_requests_total",
        "Requests to the S3 store, each try, by operation and by what came of it.",
    );
    let seconds = (
        "larder_s3_request_seconds",
        "Time to the head of the S3 store's answer, by operation.",
    );
    write_requests(page, &requests, total, seconds);
    let requests = servers.database.each();
    let total = (
        "larder_database_requests_total",
        "What was asked of the database, by operation and by what came of it.",
    );
    let seconds = (
        "larder_database_request_seconds",
        "How long the database takes, tries again included, by operation.",
    );
    write_requests(page, &requests, total, seconds);
}

/// Requests by what they ended as, and how long they took, each with its name and help.
fn write_requests(
    page: &mut MetricsPage,
    requests: &Named<'_>,
    total: (&'static str, &'static str),
    seconds: (&'static str, &'static str),
) {
    let mut total = page.counters(total.0, total.1);
    for (operation, requests) in requests {
        for (outcome, count) in requests.outcomes() {
            let labels = [("operation", *operation), ("outcome", outcome)];
            total.value(&labels, count);
        }
    }
    let mut seconds = page.histograms(seconds.0, seconds.1);
    for (operation, requests) in requests {
        seconds.durations(&[("operation", *operation)], &requests.seconds);
    }
}

/// How it stands with the node, and with others where it has the key of its network.
fn write_membership(page: &mut MetricsPage, channel: &Channel) {
    page.gauges(
        "larder_membership_expires_timestamp_seconds",
        "Until when this node is a member of its network, unless it is renewed.",
    )
    .value(&[], channel.certificate().expires);
    let standing = channel.standing();
    let mut own = page.gauges(
        "larder_membership",
        "How it stands with this node in its network: 1 for what is so.",
    );
    for it in Standing::ALL {
        own.value(&[("state", it.code())], u64::from(it == standing));
    }
    if let Some(admin) = channel.admin() {
        let mut members = page.gauges(
            "larder_network_members",
            "Members on the roll of the network, by how it stands with them.",
        );
        for (it, count) in channel.standings(admin) {
            members.value(&[("state", it.code())], count);
        }
    }
    page.gauges(
        "larder_revoked_members",
        "Members that the network has revoked.",
    )
    .value(&[], channel.revoked().len());
    write_handshakes(page, &channel.handshakes);
}

fn write_handshakes(page: &mut MetricsPage, handshakes: &Handshakes) {
    let mut page = page.counters(
        "larder_member_handshakes_total",
        "Connections with members of the network, by who has connected and what came of it.",
    );
    for (side, outcome, counter) in [
        ("incoming", "member", &handshakes.received),
        ("incoming", "refused", &handshakes.refused),
        ("outgoing", "member", &handshakes.made),
        ("outgoing", "refused", &handshakes.made_in_vain),
    ] {
        page.value(&[("side", side), ("outcome", outcome)], counter.get());
    }
}

fn write_peers(page: &mut MetricsPage, node: &Node, network_files: u64) {
    let (network, messages) = (node.network(), &node.network().messages);
    page.gauges("larder_peers", "Other nodes known.")
        .value(&[], network.registry.len());
    if let Some(channel) = &network.client.reach().members {
        write_membership(page, channel);
    }
    page.gauges("larder_network_files", "Files known of all nodes.")
        .value(&[], network_files);
    page.counters(
        "larder_announcements_sent_total",
        "Announcements to peers, by whether the peer took it.",
    )
    .value(&[("outcome", "taken")], messages.told.get())
    .value(&[("outcome", "failed")], messages.told_in_vain.get());
    page.counters(
        "larder_announcements_received_total",
        "Announcements of peers, by whether they said something new.",
    )
    .value(&[("outcome", "new")], messages.news.get())
    .value(&[("outcome", "ignored")], messages.not_news.get())
    .value(&[("outcome", "refused")], messages.refused.get());
    page.counters(
        "larder_exchanges_total",
        "How often this node has compared whom it knows with a peer, by whether that answered.",
    )
    .value(&[("outcome", "done")], network.news.exchanges.get())
    .value(&[("outcome", "failed")], network.news.failed.get());
    page.counters(
        "larder_peer_listings_read_total",
        "How often what a peer holds was read up to the version that it told.",
    )
    .value(&[], network.news.read.get());
    page.counters(
        "larder_forged_messages_total",
        "Messages that were not from the peers they named.",
    )
    .value(&[], messages.forged.get());
    let failed = &node.fetcher().failed;
    page.counters(
        "larder_verification_failures_total",
        "Peers caught at sending something else than the content asked for.",
    )
    .value(&[], failed.wrong.get());
    page.counters(
        "larder_fetch_failures_total",
        "Peers given up that did not serve what they claim to hold, by why.",
    )
    .value(&[("reason", "wrong")], failed.wrong.get())
    .value(&[("reason", "silent")], failed.silent.get())
    .value(&[("reason", "unanswered")], failed.unanswered.get());
}
