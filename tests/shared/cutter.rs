//! A cable to a database that is cut in the middle of a commit.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What ends a transaction, as a message of its own.
const COMMIT: &[u8] = b"COMMIT\0";

/// When the cable is cut, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the server hears of a commit.
    BeforeCommit,
    /// When it has answered it, which nobody hears.
    BeforeAnswer,
}

/// Takes connections and carries them on to a database.
pub(crate) struct Cutter {
    pub(crate) address: SocketAddr,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl Cutter {
    pub(crate) fn new(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::<Mutex<_>>::default();
        let armed = Arc::clone(&cut);
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, armed) = (near.unwrap(), Arc::clone(&armed));
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                thread::spawn(move || carry(&near, &far, &armed));
            }
        });
        Self { address, cut }
    }

    /// Cuts the cable at the next commit.
    pub(crate) fn cut(&self, cut: Cut) {
        *self.cut.lock().unwrap() = Some(cut);
    }

    /// Leaves the cable whole from now on.
    pub(crate) fn spare(&self) {
        *self.cut.lock().unwrap() = None;
    }

    /// Whether it was cut.
    pub(crate) fn was_cut(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }
}

fn carry(near: &TcpStream, far: &TcpStream, cut: &Mutex<Option<Cut>>) {
    let (mut from, mut into) = (far.try_clone().unwrap(), near.try_clone().unwrap());
    // Set before the commit goes on, so that nothing comes back any more.
    let silent = Arc::new(Mutex::new(false));
    let silenced = Arc::clone(&silent);
    let back = thread::spawn(move || {
        let mut piece = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if *silenced.lock().unwrap() || into.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        let _ = into.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
    let (mut from, mut into, mut piece) = (near, far, [0; 16 * 1024]);
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let sent = &piece[..length];
        if sent.windows(COMMIT.len()).any(|it| it == COMMIT) {
            match cut.lock().unwrap().take() {
                Some(Cut::BeforeCommit) => break,
                Some(Cut::BeforeAnswer) => *silent.lock().unwrap() = true,
                None => {}
            }
        }
        if into.write_all(sent).is_err() {
            break;
        }
    }
    if !*silent.lock().unwrap() {
        let _ = far.shutdown(Shutdown::Both);
        let _ = near.shutdown(Shutdown::Both);
    }
    back.join().unwrap();
}
