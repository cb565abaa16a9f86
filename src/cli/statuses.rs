//! What help tells of exit statuses, where commands at several levels have the same.

/// What the exit status of a command says that asks nobody.
pub(super) const EXIT_STATUS_OF_OTHERS: &str = "\
Exit status:
  0  done
  1  failed, for the reason that is told
  2  wrong command line or setting";
