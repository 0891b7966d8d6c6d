//! The suite: one sentence per promise of the contract, told in the words of nodes and people.

use libtest_mimic::Trial;

use super::world::{MakeFixture, World, run};

mod claims;
mod content;
mod delivery;
mod hold;
mod intake;
mod lanes;
mod leases;
mod limits;
mod modes;
mod people;
mod presence;
mod release;
mod settle;
mod totals;

/// A promise that can be tried on any store.
pub(crate) struct Sentence {
    name: String,
    tell: Box<dyn Fn(Box<dyn super::world::Fixture>) + Send>,
}

/// A sentence from the function that tells it; its name is the function's.
fn sentence<F: AsyncFn(&mut World) + Send + 'static>(told: F) -> Sentence {
    let path = std::any::type_name::<F>();
    let name = path.rsplit("sentences::").next().unwrap_or(path).to_owned();
    let tell = move |fixture| {
        run(async {
            let mut world = World::begin(fixture).await;
            told(&mut world).await;
            world.recount().await;
        });
    };
    Sentence { name, tell: Box::new(tell) }
}

/// All sentences, as trials of one store.
pub(crate) fn trials(store: &str, make: &MakeFixture) -> Vec<Trial> {
    let all = [
        intake::sentences(),
        content::sentences(),
        delivery::sentences(),
        leases::sentences(),
        lanes::sentences(),
        settle::sentences(),
        hold::sentences(),
        modes::sentences(),
        release::sentences(),
        claims::sentences(),
        people::sentences(),
        totals::sentences(),
        presence::sentences(),
        limits::sentences(),
    ];
    all.into_iter()
        .flatten()
        .map(|Sentence { name, tell }| {
            let make = MakeFixture::clone(make);
            Trial::test(format!("{store}::{name}"), move || {
                tell(make());
                Ok(())
            })
        })
        .collect()
}
