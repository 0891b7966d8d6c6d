//! News: that the pointer may have moved, or a node may have reported. Over Redis it is told; a folder is looked at a few times a second. It
//! is only ever a hint: whoever gets it looks for himself, and whoever gets none looks now and then.

use std::{fs, path::PathBuf, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    Channel,
    directory::{NODES, POINTER},
    redis::Ear,
};

/// The pause before another try to listen.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two looks at a folder: the operator's word on the control socket is faster.
const LOOK: Duration = Duration::from_millis(250);

/// How long nothing may be told before one looks all the same.
const SILENCE: Duration = Duration::from_secs(3);

/// News of one kind from one channel; ends with this.
#[derive(Debug)]
pub struct News {
    told: watch::Receiver<u64>,
    tasks: Vec<JoinHandle<()>>,
}

impl News {
    /// What concerns the nodes: the pointer.
    #[must_use]
    pub fn of_pointer(channel: &Channel) -> Self {
        Self::start(channel, Ear::News)
    }

    /// What concerns the operator: reports.
    #[must_use]
    pub fn of_reports(channel: &Channel) -> Self {
        Self::start(channel, Ear::Answers)
    }

    fn start(channel: &Channel, ear: Ear) -> Self {
        let (tell, told) = watch::channel(0);
        let listening = match channel.clone() {
            Channel::Directory(directory) => {
                let path = directory.path().join(if ear == Ear::News { POINTER } else { NODES });
                tokio::spawn(look(path, tell.clone()))
            }
            Channel::Redis(redis) => {
                let tell = tell.clone();
                tokio::spawn(async move {
                    loop {
                        redis.listen(ear, || tell.send_modify(|count| *count = count.wrapping_add(1))).await;
                        sleep(PAUSE).await;
                    }
                })
            }
        };
        let ticking = tokio::spawn(async move {
            loop {
                sleep(SILENCE).await;
                tell.send_modify(|count| *count = count.wrapping_add(1));
            }
        });
        Self { told, tasks: vec![listening, ticking] }
    }

    /// Returns when there may be something new.
    pub async fn next(&mut self) {
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await; // the tasks end with this only
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Looks whether something was renamed to this path, or into this folder.
async fn look(path: PathBuf, tell: watch::Sender<u64>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        ticks.tick().await;
        let stamp = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        if stamp != seen {
            seen = stamp;
            tell.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}
