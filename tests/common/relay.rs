//! A cable between nodes that can be made to carry so much and no more.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::process::until;

/// How much of what is heard is kept.
const MAX_HEARD: usize = 4 << 20;

/// Takes connections and carries them on to a node.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    cable: Arc<Cable>,
}

struct Cable {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    to: Option<SocketAddr>,
    /// How many bytes may still come back from the node.
    left: u64,
    /// What happens then: the cable is cut, or nothing moves any more.
    cut: bool,
    /// How many bytes came back.
    carried: u64,
    /// How many bytes went to the node.
    went: u64,
    /// How many bytes may still go to the node before they are held back.
    may_go: u64,
    /// How many bytes a second a connection carries back at most.
    pace: Option<u32>,
    /// All that went either way, as whoever listens to the cable hears it.
    heard: Vec<u8>,
}

impl Relay {
    /// A relay that carries everything, once it is connected.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            to: None,
            left: u64::MAX,
            cut: false,
            carried: 0,
            went: 0,
            may_go: u64::MAX,
            pace: None,
            heard: Vec::new(),
        };
        let cable = Arc::new(Cable {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let taking = Arc::clone(&cable);
        thread::spawn(move || {
            for near in listener.incoming() {
                let cable = Arc::clone(&taking);
                thread::spawn(move || cable.carry(&near.unwrap()));
            }
        });
        Self { address, cable }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connect(&self, to: SocketAddr) {
        self.cable.state.lock().unwrap().to = Some(to);
    }

    /// Cuts every connection after `bytes` more have come back.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.limit(bytes, true);
    }

    /// Lets everything stand still after `bytes` more have come back.
    pub(crate) fn stall_after(&self, bytes: u64) {
        self.limit(bytes, false);
    }

    /// Holds back what goes to the node after `bytes` more have.
    pub(crate) fn hold_after(&self, bytes: u64) {
        self.cable.state.lock().unwrap().may_go = bytes;
    }

    /// Lets each connection carry back no more than so many bytes a second.
    pub(crate) fn slow_to(&self, bytes_a_second: u32) {
        self.cable.state.lock().unwrap().pace = Some(bytes_a_second);
    }

    /// Carries everything again.
    pub(crate) fn mend(&self) {
        self.hold_after(u64::MAX);
        self.limit(u64::MAX, false);
    }

    /// Waits until all that may go to the node has.
    pub(crate) fn until_held(&self) {
        until("the cable holds", || {
            (self.cable.state.lock().unwrap().may_go == 0).then_some(())
        });
    }

    /// How many bytes came back from the node so far.
    pub(crate) fn carried(&self) -> u64 {
        self.cable.state.lock().unwrap().carried
    }

    /// How many bytes went either way so far.
    pub(crate) fn moved(&self) -> u64 {
        let state = self.cable.state.lock().unwrap();
        state.carried + state.went
    }

    /// All that went either way so far.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.cable.state.lock().unwrap().heard.clone()
    }

    fn limit(&self, left: u64, cut: bool) {
        let mut state = self.cable.state.lock().unwrap();
        state.left = left;
        state.cut = cut;
        self.cable.changed.notify_all();
    }
}

impl Cable {
    fn carry(self: &Arc<Self>, near: &TcpStream) {
        let to = self.state.lock().unwrap().to;
        let Some(far) = to.and_then(|to| TcpStream::connect(to).ok()) else {
            return;
        };
        let (from, into) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let cable = Arc::clone(self);
        thread::spawn(move || {
            cable.carry_there(&from, &into);
            let _ = into.shutdown(Shutdown::Write);
        });
        self.carry_back(&far, near);
        let _ = near.shutdown(Shutdown::Both);
        let _ = far.shutdown(Shutdown::Both);
    }

    /// Ends when either side does.
    fn carry_there(&self, mut near: &TcpStream, mut far: &TcpStream) {
        let mut piece = [0; 16 * 1024];
        while let Ok(length @ 1..) = near.read(&mut piece) {
            self.hear(&piece[..length]);
            let mut rest = &piece[..length];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(self.may_go(rest.len()));
                if far.write_all(now).is_err() {
                    return;
                }
                rest = later;
            }
        }
    }

    /// Takes down the beginning of what goes over it: long contents are not kept.
    fn hear(&self, bytes: &[u8]) {
        let heard = &mut self.state.lock().unwrap().heard;
        let room = MAX_HEARD.saturating_sub(heard.len()).min(bytes.len());
        heard.extend_from_slice(&bytes[..room]);
    }

    /// How many of `wanted` bytes may go to the node; waits while none may.
    fn may_go(&self, wanted: usize) -> usize {
        let mut state = self.state.lock().unwrap();
        while state.may_go == 0 {
            state = self.changed.wait(state).unwrap();
        }
        let now = u64::try_from(wanted).unwrap().min(state.may_go);
        state.went += now;
        if state.may_go != u64::MAX {
            state.may_go -= now;
        }
        usize::try_from(now).unwrap()
    }

    fn carry_back(&self, mut far: &TcpStream, mut near: &TcpStream) {
        let mut piece = [0; 16 * 1024];
        while let Ok(length) = far.read(&mut piece) {
            self.hear(&piece[..length]);
            let mut rest = &piece[..length];
            while !rest.is_empty() {
                let Some(room) = self.room(rest.len()) else {
                    return;
                };
                let (now, later) = rest.split_at(room);
                self.wait_for(now.len());
                if near.write_all(now).is_err() {
                    return;
                }
                rest = later;
            }
            if length == 0 {
                return;
            }
        }
    }

    /// Takes as long as so many bytes have to.
    fn wait_for(&self, bytes: usize) {
        let pace = self.state.lock().unwrap().pace;
        if let Some(pace) = pace {
            let bytes = u32::try_from(bytes).unwrap();
            thread::sleep(Duration::from_secs_f64(f64::from(bytes) / f64::from(pace)));
        }
    }

    /// How many of `wanted` bytes may pass; waits while nothing may. None once it is cut.
    fn room(&self, wanted: usize) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        while state.left == 0 && !state.cut {
            state = self.changed.wait(state).unwrap();
        }
        let room = u64::try_from(wanted).unwrap().min(state.left);
        if state.left != u64::MAX {
            state.left -= room;
        }
        state.carried += room;
        (room > 0).then(|| usize::try_from(room).unwrap())
    }
}
