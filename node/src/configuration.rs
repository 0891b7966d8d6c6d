//! Follows the configuration: what the channel has is verified, made ready and swapped in as one step, and what became of it is reported. What
//! is under way keeps the policy that it began with.

use std::sync::Arc;

use posthouse_channel::{Channel, Follower, KeyFolder, Look, News, Refused};
use posthouse_config::Assembled;
use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, spawn_blocking},
};

use crate::{events, node::Node, policy::Policy};

/// Where a node's configuration comes from, and as whom it answers.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The channel.
    pub channel: Channel,
    /// The keys that open it.
    pub keys: KeyFolder,
    /// This run of the node.
    pub uid: String,
    /// The node's name.
    pub node: String,
    /// The id of the queue that is open: a snapshot for another one is not for this node.
    pub queue_id: String,
}

/// The task that follows; it ends with this.
pub struct Configuration {
    hint: Arc<Notify>,
    reported: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Configuration {
    /// Begins to follow.
    #[must_use]
    pub fn follow(origin: Origin, node: Arc<Node>, policies: watch::Sender<Option<Arc<Policy>>>) -> Self {
        let hint = Arc::new(Notify::new());
        let (told, reported) = watch::channel(0);
        let Origin { channel, keys, uid, node: name, queue_id } = origin;
        let following = Following {
            follower: Follower::new(channel, keys, uid, name),
            queue_id,
            node,
            policies,
            said: String::new(),
            has_said_nothing: false,
            passed_over: Vec::new(),
        };
        let task = tokio::spawn(following.run(Arc::clone(&hint), told));
        Self { hint, reported, task }
    }

    /// Somebody says that there may be something new.
    pub fn hint(&self) {
        self.hint.notify_one();
    }

    /// Changes with every report.
    #[must_use]
    pub fn reported(&self) -> watch::Receiver<u64> {
        self.reported.clone()
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Following {
    follower: Follower,
    queue_id: String,
    node: Arc<Node>,
    policies: watch::Sender<Option<Arc<Policy>>>,
    /// The last trouble that was said.
    said: String,
    /// It was said that nothing is published.
    has_said_nothing: bool,
    /// What is among the keys and is none, as it was said.
    passed_over: Vec<String>,
}

impl Following {
    async fn run(mut self, hint: Arc<Notify>, told: watch::Sender<u64>) {
        let mut news = News::of_pointer(self.follower.channel());
        let mut logins = self.node.refused_logins.watch();
        loop {
            self.step(&told).await;
            tokio::select! {
                () = hint.notified() => {}
                () = news.next() => {}
                () = logins.next() => {}
            }
        }
    }

    async fn step(&mut self, told: &watch::Sender<u64>) {
        let look = self.follower.look().await;
        self.say_passed_over();
        let looked = match look {
            Ok(look) => {
                self.take(look).await;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        };
        self.follower.refused_logins(self.node.refused_logins.list().into_iter());
        let said = match looked {
            Ok(()) => self.follower.say().await.map_err(|error| error.to_string()),
            trouble => trouble.map(|()| false),
        };
        match said {
            Ok(has_said) => {
                self.said.clear();
                if has_said {
                    told.send_modify(|count| *count = count.wrapping_add(1));
                }
            }
            Err(trouble) if trouble != self.said => {
                events::ConfigurationAway { error: &trouble, is_cold: self.follower.is_cold() }.emit();
                self.said = trouble;
            }
            Err(_) => {}
        }
    }

    async fn take(&mut self, look: Look) {
        let refused = match look {
            Look::Same => return,
            Look::Nothing => return self.say_nothing(),
            Look::Refused(refused) => refused,
            Look::New(assembled) => match self.put_in_force(assembled).await {
                Ok(()) => return,
                Err(refused) => match self.follower.refuse(refused) {
                    Look::Refused(refused) => refused,
                    Look::Nothing | Look::Same | Look::New(_) => return,
                },
            },
        };
        let Refused { epoch, resource, reason, .. } = &refused;
        let is_cold = self.follower.is_cold();
        events::SnapshotRefused { epoch, resource: resource.as_deref(), reason, is_cold }.emit();
    }

    /// Says once that there is nothing to begin with. Who has something goes on with it; that it was lost is the operator's to say and to mend.
    fn say_nothing(&mut self) {
        if self.follower.is_cold() && !self.has_said_nothing {
            self.has_said_nothing = true;
            events::ConfigurationAwaited.emit();
        }
    }

    /// Says what is new of what is no key.
    fn say_passed_over(&mut self) {
        let found = self.follower.passed_over();
        for reason in found.iter().filter(|reason| !self.passed_over.contains(reason)) {
            events::KeyPassedOver { reason }.emit();
        }
        if self.passed_over != found {
            self.passed_over = found.to_vec();
        }
    }

    async fn put_in_force(&mut self, assembled: Arc<Assembled>) -> Result<(), Refused> {
        let refused = |reason| Refused::new(&assembled.pointer, None, reason, false);
        let meant = &assembled.snapshot.gateway.queue.id;
        if **meant != *self.queue_id {
            return Err(refused(format!(
                "it is for the queue {meant:?}, and this node serves {:?}",
                self.queue_id
            )));
        }
        let made = {
            let (assembled, before) = (Arc::clone(&assembled), self.node.policy());
            spawn_blocking(move || Policy::new(&assembled, before.as_deref())).await
        };
        let policy = made.map_err(|error| refused(format!("it cannot be made ready: {error}")))?;
        let policy = Arc::new(policy.map_err(|error| {
            let gateway = assembled.snapshot.gateway.origin.as_str();
            Refused::new(&assembled.pointer, Some(gateway), error.to_string(), false)
        })?);
        let before = self.node.set_policy(Arc::clone(&policy));
        let is_in_force =
            |rule: &_| before.as_ref().is_some_and(|before| policy.has_same_login(before, rule));
        self.node.refused_logins.keep(is_in_force);
        self.policies.send_replace(Some(policy));
        events::SnapshotApplied { hash: &assembled.pointer.index, epoch: &assembled.pointer.epoch }.emit();
        self.follower.applied(assembled);
        Ok(())
    }
}
