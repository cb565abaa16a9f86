//! `larder bench`: how fast a node answers, by requests that are proven.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::output;
use super::running::run;
use crate::blocking;
use crate::cli::counted::counted;
use crate::config::{SECOND, Size, period};

mod content;
mod latency;
mod mix;
mod outcome;
mod over;
mod wire;
mod worker;

use mix::{Mix, Operation};
use outcome::{Outcome, Told};
use over::watch_over;
use wire::{Trouble, Wire};
use worker::{Kept, Run, Worker, folder};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// What is asked, and in which proportion: get, put, delete (of what was put) and list.
    #[arg(long, value_name = "MIX", default_value = "get=80,put=20")]
    mix: Mix,

    /// How long contents are; of several, divided by commas, each is as likely.
    #[arg(
        long,
        value_name = "SIZE",
        value_delimiter = ',',
        default_value = "4KiB"
    )]
    size: Vec<Size>,

    /// How many files there are to get, which are uploaded before.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000,
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    files: u64,

    /// How many connections ask at once, each for one thing after the other.
    #[arg(short, long, value_name = "NUMBER", default_value_t = 16,
          value_parser = clap::value_parser!(u64).range(1..=65_536))]
    connections: u64,

    /// How long is measured; a bare number is seconds.
    #[arg(long, value_name = "TIME", default_value = "10s",
          value_parser = |text: &str| period(text, SECOND, 1..=86_400))]
    seconds: Duration,

    /// How many threads the connections share.
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,

    /// Send contents in forms, as browsers do, instead of alone.
    #[arg(long)]
    form: bool,

    /// Leave the files there, in a folder that is told.
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    connection: Connection,
}

/// What all the threads do.
#[derive(Clone, Copy)]
enum Part {
    Fill,
    Measure,
    Clean,
}

/// What one of them has come to.
#[derive(Default)]
struct Done {
    outcome: Outcome,
    own: Vec<Kept>,
    left: u64,
    has_unanswered: bool,
    trouble: Option<Trouble>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.bench(api))
    }

    async fn bench(&self, api: Api) -> Result<(), Failure> {
        let target = self.connection.target()?;
        let health = api.request(Method::GET, "/health");
        let _: Value = api.json(health).await?;
        let run = Arc::new(Run {
            wire: Wire::to(&target).await?,
            id: *Uuid::new_v4().as_bytes(),
            sizes: self.size.iter().map(|it| it.0).collect(),
            mix: self.mix,
            in_forms: self.form,
            begun: AtomicU64::new(0),
            over: Arc::default(),
        });
        let files = if self.mix.has(Operation::Get) {
            self.files
        } else {
            0
        };
        let (filled, _) = self.all(&run, Part::Fill, Arc::from([]), files).await;
        let is_to_be_measured = filled.trouble.is_none() && !run.over.is_over();
        let mut result = filled.trouble.map_or(Ok(()), |it| Err(self.not_filled(it)));
        let mut has_unanswered = filled.has_unanswered;
        let (mut own, files): (_, Arc<[Kept]>) = (Vec::new(), filled.own.into());
        if is_to_be_measured {
            if !self.connection.json {
                output::say(&self.described());
            }
            let (measured, took) = self.all(&run, Part::Measure, Arc::clone(&files), 0).await;
            own = measured.own;
            has_unanswered |= measured.has_unanswered;
            result = self.tell(&measured.outcome.told(took), took);
        }
        own.extend(files.iter());
        result.and(self.clean(&run, own, has_unanswered).await)
    }

    fn described(&self) -> String {
        let sizes = self.size.iter().map(|it| output::size(it.0));
        let sizes = sizes.collect::<Vec<_>>().join(" or ");
        let connections = counted(self.connections, "connection");
        let seconds = self.seconds.as_secs();
        format!("{connections} for {seconds} s, {} of {sizes}", self.mix)
    }

    /// Removes what was uploaded, unless it is to stay.
    async fn clean(
        &self,
        run: &Arc<Run>,
        own: Vec<Kept>,
        has_unanswered: bool,
    ) -> Result<(), Failure> {
        let folder = folder(&run.id);
        if self.keep {
            output::say(&format!(
                "{} in {folder}",
                counted(own.len() as u64, "file")
            ));
            return Ok(());
        }
        let (cleaned, _) = self.all(run, Part::Clean, own.into(), 0).await;
        if cleaned.left > 0 {
            output::say(&format!(
                "{} left there: `larder rm {folder}/` removes them",
                counted(cleaned.left, "file")
            ));
            return Err(Failure::Told(1));
        }
        if has_unanswered {
            output::say(&format!(
                "uploads that were not answered may have left files: `larder rm {folder}/` \
                 removes them"
            ));
        }
        Ok(())
    }

    /// Has all connections do their part, each thread its share of them, and tells how long that
    /// took.
    async fn all(
        &self,
        run: &Arc<Run>,
        part: Part,
        files: Arc<[Kept]>,
        to_make: u64,
    ) -> (Done, Duration) {
        run.over.begin();
        let seconds = matches!(part, Part::Measure).then_some(self.seconds);
        let watching = tokio::spawn(watch_over(Arc::clone(&run.over), seconds));
        let began = Instant::now();
        let threads = self.threads.min(self.connections);
        let threads = (0..threads).map(|thread| {
            let workers = (thread..self.connections).step_by(usize::try_from(threads).unwrap_or(1));
            let workers = workers
                .map(|it| Worker::new(Arc::clone(run), it))
                .collect::<Vec<_>>();
            let share = Share {
                part,
                files: Arc::clone(&files),
                of: self.connections,
                first: thread,
                step: threads,
                to_make,
            };
            thread::spawn(move || share.work(workers))
        });
        let threads = threads.collect::<Vec<_>>();
        let joined = blocking::run(move || {
            let joined = threads.into_iter().map(|it| it.join().unwrap_or_default());
            joined.collect::<Vec<_>>()
        });
        let mut all = Done::default();
        for done in joined.await {
            all.add(done);
        }
        watching.abort();
        (all, began.elapsed())
    }

    fn tell(&self, told: &[Told], took: Duration) -> Result<(), Failure> {
        for it in told {
            if self.connection.json {
                output::json(it)?;
            } else {
                output::line(&it.line())?;
            }
        }
        let sum = |of: fn(&Told) -> u64| told.iter().map(of).sum::<u64>();
        let (failed, wrong) = (sum(Told::failed), sum(Told::wrong));
        if wrong > 0 {
            output::say(&format!("{} with other bytes", counted(wrong, "answer")));
            return Err(Failure::Told(7));
        }
        if failed > 0 {
            output::say(&format!("{} came to nothing", counted(failed, "request")));
            return Err(Failure::Told(1));
        }
        if took < self.seconds {
            output::say(&format!("ended after {:.1} s", took.as_secs_f64()));
        }
        Ok(())
    }

    fn not_filled(&self, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Refused(code) if code.ends_with("token") => {
                Failure::Token("the node wants a token to write with")
            }
            Trouble::Wrong => {
                output::say("the node says that it has other bytes than it was given");
                Failure::Told(7)
            }
            other => Failure::NotFilled(counted(self.files, "file"), other.word().to_owned()),
        }
    }
}

/// What one thread does of a part.
struct Share {
    part: Part,
    files: Arc<[Kept]>,
    /// How many connections there are.
    of: u64,
    /// Which of them are its own.
    first: u64,
    step: u64,
    to_make: u64,
}

impl Share {
    fn work(&self, workers: Vec<Worker>) -> Done {
        let mut all = Done::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else {
            all.trouble = Some(Trouble::Cut("no_runtime"));
            return all;
        };
        let numbers = (0..).map(|it| self.first + it * self.step);
        let working = workers.into_iter().zip(numbers);
        let working = working.map(|(worker, number)| self.one(worker, number));
        for done in runtime.block_on(join_all(working)) {
            all.add(done);
        }
        all
    }

    async fn one(&self, mut worker: Worker, number: u64) -> Done {
        let mut done = Done::default();
        match self.part {
            Part::Fill => done.trouble = worker.fill(self.to_make).await.err(),
            Part::Measure => worker.measure(&self.files).await,
            Part::Clean => {
                let (first, of) = (usize::try_from(number), usize::try_from(self.of));
                let own = self.files.iter().skip(first.unwrap_or(0));
                let own = own.step_by(of.unwrap_or(1)).copied().collect();
                done.left = worker.clean(own).await;
            }
        }
        done.own = worker.own;
        done.has_unanswered = worker.has_unanswered;
        done.outcome = worker.outcome;
        done
    }
}

impl Done {
    fn add(&mut self, other: Self) {
        self.outcome.add(&other.outcome);
        self.own.extend(other.own);
        self.left += other.left;
        self.has_unanswered |= other.has_unanswered;
        self.trouble = self.trouble.take().or(other.trouble);
    }
}
