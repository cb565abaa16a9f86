//! The integration tests, in one binary: a module for each subject.
//!
//! Whatever needs a process or a machine to itself is in a binary of its own beside this one.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod addresses;
mod any_answer;
mod any_form;
mod any_message;
mod bad_input;
mod bao;
mod blob_conformance;
mod browser;
mod changed_packs;
mod client_commands;
mod clocks;
mod command_ends;
mod commands;
mod concurrency;
mod contract;
mod damage;
mod degraded;
mod encoded;
mod events;
mod fetching;
mod file_ids;
mod first_use;
mod formats;
mod get_command;
mod holders;
mod hostile_texts;
mod https;
mod in_use;
mod index_conformance;
mod index_recovery;
mod keeping;
mod keeping_all;
mod limits;
mod lost_journal;
mod lying_node;
mod lying_peer;
mod metrics;
mod mixed_network;
mod network;
mod network_view;
mod nth_failure;
mod openapi;
mod out_of_reach;
mod outboard;
mod owners;
mod pack_ends;
mod packs;
mod page;
mod partial;
mod peer_rate;
mod permissions;
mod power_cut;
mod private;
mod proven_listings;
mod put_command;
mod quota;
mod reachability;
mod reading;
mod searching;
mod secrets;
mod settings;
mod shortage;
mod simulated_cuts;
mod spool;
mod stalled;
mod state_flips;
mod stored_files;
mod strangers;
mod tls;
mod tus;
mod tus_clients;
mod tus_faults;
mod tus_restarts;
mod unread_log;
mod verify;
mod wrong_settings;
