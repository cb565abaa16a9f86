//! What fails, while clients are at work.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::Run;
use crate::world::NODES;

/// Where clocks jump to, in seconds from now; an answer cannot be dated before 1970.
const JUMPS: [&str; 6] = ["72000", "-72000", "315360000", "-315360000", "3600", "0"];
/// The longest time between two faults, in milliseconds.
const LONGEST_MS: u64 = 400;

impl Run {
    /// Something fails, of one node or of all.
    pub(crate) fn fail(&mut self, flips_on: Option<usize>) {
        if let Some(node) = flips_on
            && self.random.below(3) == 0
        {
            self.flip(node);
            *self.faults.entry("bit flips").or_default() += 1;
            return;
        }
        let node = usize::try_from(self.random.below(NODES as u64)).unwrap();
        let what = match self.random.below(15) {
            0..4 => {
                self.kill(node);
                "kill -9"
            }
            4..7 => {
                self.cut_power(node);
                "power cuts"
            }
            7 => {
                for node in 0..NODES {
                    self.turn_off(node);
                    self.sites[node].cut_power(&mut self.random);
                }
                (0..NODES).for_each(|node| self.turn_on(node));
                "power cuts of all nodes"
            }
            8 => {
                self.turn_off(node);
                self.sites[node].stop();
                self.turn_on(node);
                "clean stops"
            }
            9 | 10 => {
                self.sites[node].fill();
                // With a disk that is full a node also starts.
                if self.random.below(2) == 0 {
                    self.kill(node);
                }
                self.pause();
                self.sites[node].make_room();
                "full disks"
            }
            11 => {
                let jump = self.random.below(JUMPS.len() as u64);
                self.sites[node].set_clock(JUMPS[usize::try_from(jump).unwrap()]);
                "clock jumps"
            }
            12 | 13 => {
                let cable = &self.sites[node].cable;
                match self.random.below(3) {
                    0 => cable.cut_after(self.random.below(200_000)),
                    1 => cable.stall_after(self.random.below(200_000)),
                    _ => cable.hold_after(self.random.below(20_000)),
                }
                "partitions"
            }
            _ => {
                self.sites[node].signal(Signal::STOP);
                self.pause();
                self.sites[node].signal(Signal::CONT);
                "nodes that stood still"
            }
        };
        *self.faults.entry(what).or_default() += 1;
    }

    fn flip(&mut self, node: usize) {
        self.world.flipped[node].store(true, Ordering::SeqCst);
        let is_off = self.random.below(2) == 0;
        if is_off {
            self.turn_off(node);
            match self.random.below(2) {
                0 => self.sites[node].kill(),
                _ => self.sites[node].stop(),
            }
        }
        self.sites[node].flip(&mut self.random);
        if is_off {
            self.turn_on(node);
        }
    }

    fn kill(&mut self, node: usize) {
        self.turn_off(node);
        self.sites[node].kill();
        self.turn_on(node);
    }

    fn cut_power(&mut self, node: usize) {
        self.turn_off(node);
        self.sites[node].cut_power(&mut self.random);
        self.turn_on(node);
    }

    /// No client begins to ask it any more; what it was asked it is asked still.
    pub(crate) fn turn_off(&mut self, node: usize) {
        self.world.nodes.lock()[node] = None;
    }

    /// Has it run again.
    pub(crate) fn turn_on(&mut self, node: usize) {
        self.sites[node].start(&mut self.random);
        self.world.nodes.lock()[node] = self.sites[node].address();
    }

    /// Lets the clients work for a moment.
    pub(crate) fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.below(LONGEST_MS)));
    }
}
