//! What holds after each round, when everything that failed is well again.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::sleep;

use crate::Run;
use crate::contents::Content;
use crate::model::{Begun, Files};
use crate::site::Site;
use crate::world::{NODES, Read, World};

/// How often something is looked for that comes in time.
const TRIES: usize = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

impl Run {
    /// Heals all, starts every node once more, and holds what they have against what was told.
    pub(crate) async fn check(&mut self) {
        for node in 0..NODES {
            self.sites[node].make_room();
            self.sites[node].set_clock("0");
            self.sites[node].cable.mend();
            self.turn_off(node);
            if self.random.below(3) == 0 {
                self.sites[node].kill();
            } else {
                self.sites[node].stop();
                if self.sites[node].flips.is_empty() && self.random.below(2) == 0 {
                    let problems = self.problems(node);
                    assert_eq!(problems, Vec::<String>::new(), "{node}");
                    self.world.count("clean verifications");
                }
            }
            self.turn_on(node);
        }
        for node in 0..NODES {
            self.check_node(node).await;
        }
        self.check_network().await;
        for node in 0..NODES {
            if !self.sites[node].flips.is_empty() {
                self.settle_flips(node);
            }
        }
    }

    /// What `larder verify` finds that is damaged or missing of a node that was stopped, but for
    /// outboards: of what a power cut has torn one is made anew when it is needed.
    fn problems(&self, node: usize) -> Vec<String> {
        let output = self.sites[node].run(&["verify", "--json"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        let told = told
            .lines()
            .map(|it| serde_json::from_str::<Value>(it).unwrap());
        let problems = told.filter_map(|it| Some(it["problem"].as_str()?.to_owned()));
        problems
            .filter(|it| !it.starts_with("outboard of"))
            .collect()
    }

    /// Every acknowledged file is there and right, or listed as damaged where a bit was flipped.
    async fn check_node(&mut self, node: usize) {
        let world = &*self.world;
        let listing = until("the whole listing", async || world.list(node).await).await;
        let amiss = world.files[node].lock().settle(&listing);
        let site = &self.sites[node];
        if !amiss.lost.is_empty() || !amiss.back.is_empty() {
            let may_be = site.has_told() && site.flips.iter().any(|it| tells_of_files(&it.path));
            assert!(
                may_be,
                "{node}: {amiss:?}; {:?}\n{}",
                site.flips,
                site.log()
            );
            println!("{node}: told to be amiss: {amiss:?}");
            self.add("files lost by a flipped bit, and told", amiss.lost.len());
            self.add("removals lost by a flipped bit, and told", amiss.back.len());
        }
        for id in amiss.back {
            self.world.remove(node, &id).await;
        }
        let files = self.world.files[node].lock().there.clone();
        self.add("files checked", files.len());
        for (id, content) in files {
            if !self.world.is_whole(node, &id, content).await {
                self.mend(node, &id, content).await;
            }
        }
        self.end_uploads(node).await;
    }

    fn add(&self, what: &'static str, more: usize) {
        *self.world.counts.lock().entry(what).or_default() += more as u64;
    }

    /// A file that is refused is listed as damaged, for a reason; and an upload mends it.
    async fn mend(&self, node: usize, id: &str, content: Content) {
        let site = &self.sites[node];
        let hash = content.hash.to_string();
        let is_explained = site.flips.iter().any(|it| may_damage(&it.path, &hash));
        assert!(
            is_explained,
            "{node}: {id} {hash}; {:?}\n{}",
            site.flips,
            site.log()
        );
        println!("{node}: {hash} is damaged, and listed");
        self.world
            .count("files damaged by a flipped bit, and listed");
        self.world.upload(node, content).await;
        assert!(self.world.is_whole(node, id, content).await, "{id}");
    }

    /// Ends what was begun: nothing of it is lost that was acknowledged.
    async fn end_uploads(&mut self, node: usize) {
        let begun = std::mem::take(&mut self.world.files[node].lock().begun);
        for mut begun in begun {
            if self.random.below(4) == 0 {
                self.world.give_up(node, &begun).await;
            } else {
                self.world.end(node, &mut begun).await;
            }
        }
    }

    /// The nodes find each other again: a file of each is read by the others.
    async fn check_network(&mut self) {
        for node in 0..NODES {
            let file = self.world.files[node].lock().any(&mut self.random);
            let Some((id, content)) = file else { continue };
            for by in 0..NODES {
                let world = &*self.world;
                let url = world.url(by, &format!("/api/p2p/file/{id}")).unwrap();
                until("a file of another node", async || {
                    let read = world.read(&url, content, 0, content.size).await;
                    (read == Read::Whole).then_some(())
                })
                .await;
            }
        }
        self.world.count("reads by every node");
    }

    /// A node of which bits were flipped has nothing wrong any more, once what was told was seen
    /// to; else it begins anew with an empty disk.
    fn settle_flips(&mut self, node: usize) {
        self.turn_off(node);
        self.sites[node].stop();
        let problems = self.problems(node);
        if !problems.is_empty() {
            println!("{node}: {:?} leave {problems:?}", self.sites[node].flips);
            self.world.count("disks given up after a flipped bit");
            self.sites[node].begin_anew();
            *self.world.files[node].lock() = Files::default();
        }
        self.sites[node].flips.clear();
        self.world.flipped[node].store(false, Ordering::SeqCst);
        self.turn_on(node);
    }
}

/// Whether damage of this file may cost what the journal tells.
fn tells_of_files(path: &Path) -> bool {
    path.to_str().unwrap().starts_with("journal")
}

/// Whether a bit of this file may be one of this content.
fn may_damage(path: &Path, hash: &str) -> bool {
    path.starts_with("packs") || (path.starts_with("blobs") && path.ends_with(hash))
}

/// Waits until something is there; nothing is said of how long that takes.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..TRIES {
        if let Some(found) = look().await {
            return found;
        }
        sleep(BETWEEN_TRIES).await;
    }
    panic!("in vain: {what}");
}

impl World {
    /// Whether a file is there and right; else it is listed as damaged.
    async fn is_whole(&self, node: usize, id: &str, content: Content) -> bool {
        let url = self.url(node, &format!("/api/p2p/file/{id}")).unwrap();
        until("a file, or that it is damaged", async || {
            match self.read(&url, content, 0, content.size).await {
                Read::Whole => Some(true),
                Read::Refused(status, why) if status == 500 => {
                    assert!(self.has_flips(node), "{url}: {status} {why}");
                    let listed = self.unsound(node).await?;
                    listed.contains(&content.hash.to_string()).then_some(false)
                }
                Read::Refused(status, why) => {
                    assert_ne!(status, 404, "{url}: {why}");
                    None
                }
                Read::Cut => None,
            }
        })
        .await
    }

    /// The contents that a node lists as damaged.
    async fn unsound(&self, node: usize) -> Option<Vec<String>> {
        let url = self.url(node, "/api/p2p/scrub?files=1")?;
        let told = self.told(self.http.get(url)).await?;
        let listed = told["unsound"].as_array().unwrap().iter();
        let hash = |it: &Value| it["hash"].as_str().unwrap().to_owned();
        Some(listed.map(hash).collect())
    }

    async fn upload(&self, node: usize, content: Content) {
        until("an upload is taken", async || {
            let name = self.name("mended");
            self.files[node].lock().asks(&name, content, true);
            let url = self.url(node, &format!("/api/p2p/upload/{name}"))?;
            let told = self.told(self.http.put(url).body(content.bytes())).await?;
            let id = told["file"]["file_id"].as_str().unwrap();
            self.files[node].lock().came(&name, id);
            Some(())
        })
        .await;
    }

    async fn remove(&self, node: usize, id: &str) {
        until("a removal is taken", async || {
            let url = self.url(node, &format!("/api/p2p/file/{id}"))?;
            let answer = self.ask(self.http.delete(url)).await?;
            matches!(answer.status().as_u16(), 200 | 404).then_some(())
        })
        .await;
    }

    async fn end(&self, node: usize, begun: &mut Begun) {
        until("an upload in parts ends", async || {
            let Some(offset) = self.look(node, begun).await? else {
                return Some(());
            };
            let end = begun.content.size;
            self.send(node, begun, offset, end, false)
                .await?
                .then_some(())
        })
        .await;
    }

    async fn give_up(&self, node: usize, begun: &Begun) {
        until("an upload in parts is given up", async || {
            let request = self.tus(node, Method::DELETE, &begun.path)?;
            let answer = self.ask(request).await?;
            matches!(answer.status().as_u16(), 204 | 404 | 410).then_some(())
        })
        .await;
        self.count("uploads in parts given up");
    }
}

impl Site {
    /// Has an empty disk.
    pub(crate) fn begin_anew(&mut self) {
        for entry in std::fs::read_dir(self.storage()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        self.kill();
    }
}
