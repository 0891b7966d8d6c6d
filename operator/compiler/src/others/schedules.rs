//! Schedules: whether their times can be read, and whether they ever fire. When they fire next is not asked here: there is no clock. Pure.

use std::{collections::HashSet, sync::Arc};

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    civil::{Date, date},
    tz::TimeZoneDatabase,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use posthouse_crds::{
    Kind, MailSchedule, MailScheduleSpec,
    mail_schedule::{Day, Trigger, Window},
};

use crate::{
    compile::Input,
    reason::Reason,
    resources::ObjectKey,
    unsupported,
    verdict::{Fault, Report, Subject},
};

/// The longest pause between two times: more is a slip of the hand.
const LONGEST_EVERY: u64 = 366 * 86_400;

/// In 28 years each day of the year, 29 February among them, falls on each day of the week.
const CALENDAR: u32 = 28 * 366;

const MINUTES_OF_DAY: u16 = 24 * 60;

/// Says what is wrong with all schedules, and which of them nothing uses.
pub(super) fn check(input: &Input<'_>, report: &mut Report) {
    let referenced = referenced(input);
    for (object, faults) in &input.parsed.schedules {
        let key = ObjectKey::of(&object.metadata);
        let subject = Subject { kind: Kind::MailSchedule, key: &key };
        faults.iter().for_each(|fault| report.say_fault(subject, fault));
        if referenced.contains(&key) {
            unsupported::judge_kind(subject, report);
        } else {
            report.say(
                subject,
                "",
                Reason::NotReferenced,
                "nothing uses this schedule: name it in a scheduleRef, or delete it",
            );
        }
    }
}

fn referenced(input: &Input<'_>) -> HashSet<ObjectKey> {
    let resources = input.resources;
    let named = |metadata: &ObjectMeta, name: &str| {
        ObjectKey::new(metadata.namespace.clone().unwrap_or_default(), name)
    };
    let gateways = resources.gateways.iter().filter_map(|gateway| {
        let schedule = gateway.spec.connectivity.as_ref()?.schedule_ref.as_ref()?;
        Some(named(&gateway.metadata, &schedule.name))
    });
    let domains = resources.domains.iter().filter_map(|domain| {
        let schedule = domain.spec.release.as_ref()?.schedule_ref.as_ref()?;
        Some(named(&domain.metadata, &schedule.name))
    });
    let accounts = resources
        .pop3_accounts
        .iter()
        .map(|account| named(&account.metadata, &account.spec.schedule_ref.name));
    let etrn =
        resources.etrn_schedules.iter().map(|etrn| named(&etrn.metadata, &etrn.spec.schedule_ref.name));
    gateways.chain(domains).chain(accounts).chain(etrn).collect()
}

/// What is wrong with a schedule by itself.
pub(crate) fn faults(object: &MailSchedule) -> Vec<Fault> {
    let MailScheduleSpec { time_zone, suspend: _, triggers, valid_during } = &object.spec;
    let mut faults = Vec::new();
    if let Some(name) = time_zone {
        faults.extend(time_zone_fault(name));
    }
    let windows: Vec<_> = valid_during
        .iter()
        .enumerate()
        .filter_map(|(place, window)| parsed_window(place, window, &mut faults))
        .collect();
    if triggers.is_empty() {
        let message = "without a trigger it never fires: give at least one of every, at and cron";
        faults.push(Fault::new("spec.triggers", Reason::EmptyList, message));
    }
    let triggers: Vec<_> = triggers
        .iter()
        .enumerate()
        .filter_map(|(place, trigger)| parsed_trigger(place, trigger, &mut faults))
        .collect();
    // What cannot be read may be anything: only of what can be is it known whether it fires.
    if faults.is_empty() {
        never_fires(&triggers, &windows, &mut faults);
    }
    faults
}

/// The zones that come with the program are asked, not the system's: what is right at one place is right everywhere.
fn time_zone_fault(name: &str) -> Option<Fault> {
    let known = TimeZoneDatabase::bundled().get(name);
    known.is_err().then(|| {
        let message =
            format!("there is no time zone {name:?}: write an IANA name such as Europe/Prague, or UTC");
        Fault::new("spec.timeZone", Reason::InvalidTimeZone, message)
    })
}

/// A minute of the day, from `HH:MM`.
fn time_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let fits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| digits.parse::<u16>().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn time_fault(field: String, text: &str) -> Fault {
    let message = format!("{text:?} is no time of day: write hours and minutes, from 00:00 to 23:59");
    Fault::new(field, Reason::InvalidTime, message)
}

/// A time of the week, in minutes of the day.
struct Span {
    days: [bool; 7],
    from: u16,
    to: u16,
}

impl Span {
    /// Whether it has this minute of a day of the week. What begins on one day may end on the next.
    fn has(&self, weekday: usize, minute: u16) -> bool {
        let begins_on = |weekday: usize| self.days.get(weekday % 7).copied().unwrap_or_default();
        if self.from < self.to {
            begins_on(weekday) && (self.from..self.to).contains(&minute)
        } else {
            begins_on(weekday) && minute >= self.from || begins_on(weekday + 6) && minute < self.to
        }
    }
}

fn parsed_window(place: usize, window: &Window, faults: &mut Vec<Fault>) -> Option<Span> {
    let path = format!("spec.validDuring[{place}]");
    let mut time = |field: &str, text: &str| {
        let time = time_of_day(text);
        if time.is_none() {
            faults.push(time_fault(format!("{path}.{field}"), text));
        }
        time
    };
    let (from, to) = (time("from", &window.from), time("to", &window.to));
    let (from, to) = (from?, to?);
    if from == to {
        let message = "from and to are the same time, so it would have no length: for whole days leave validDuring out, or \
                       give two windows that meet";
        faults.push(Fault::new(path, Reason::InvalidTime, message));
        return None;
    }
    let days = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
    Some(Span { days: days.map(|day| window.days.is_empty() || window.days.contains(&day)), from, to })
}

/// When a trigger fires.
enum When {
    Every,
    At(u16),
    Cron(Box<Cron>),
}

fn parsed_trigger(place: usize, trigger: &Trigger, faults: &mut Vec<Fault>) -> Option<When> {
    let path = format!("spec.triggers[{place}]");
    match (&trigger.every, &trigger.at, &trigger.cron) {
        (Some(every), None, None) => {
            if !(1..=LONGEST_EVERY).contains(&every.as_secs()) {
                let message = format!(
                    "{every} is too {}: use 1s to 366d",
                    if every.as_secs() == 0 { "short" } else { "long" }
                );
                faults.push(Fault::new(format!("{path}.every"), Reason::InvalidDuration, message));
            }
            Some(When::Every)
        }
        (None, Some(at), None) => {
            let time = time_of_day(at);
            if time.is_none() {
                faults.push(time_fault(format!("{path}.at"), at));
            }
            time.map(When::At)
        }
        (None, None, Some(text)) => {
            // Five fields, as in a crontab: seconds and years would make a second form of everything.
            let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
            match parser.parse(text) {
                Ok(cron) => Some(When::Cron(Box::new(cron))),
                Err(error) => {
                    let error = error.to_string();
                    let message = format!(
                        "{text:?}: {}; write minute, hour, day of month, month and day of week, such as 0 */2 * * *",
                        error.trim_end_matches('.')
                    );
                    faults.push(Fault::new(format!("{path}.cron"), Reason::InvalidCron, message));
                    None
                }
            }
        }
        (None, None, None) => {
            let message = "say when: give every, at or cron";
            faults.push(Fault::new(path, Reason::MissingField, message));
            None
        }
        _ => {
            let message = "every, at and cron exclude each other: make a trigger of each";
            faults.push(Fault::new(path, Reason::ConflictingFields, message));
            None
        }
    }
}

fn never_fires(triggers: &[When], windows: &[Span], faults: &mut Vec<Fault>) {
    let idle: Vec<_> = triggers
        .iter()
        .enumerate()
        .filter(|(_, trigger)| !fires(trigger, windows))
        .map(|(place, _)| place)
        .collect();
    if idle.is_empty() {
        return;
    }
    if idle.len() == triggers.len() {
        let message = if windows.is_empty() {
            "it never fires: there is no such day; correct the cron expression"
        } else {
            "it never fires: none of its times falls into validDuring; widen the windows, or change the triggers"
        };
        faults.push(Fault::new("spec.triggers", Reason::NeverFires, message));
        return;
    }
    for place in idle {
        let message = "this trigger never fires: none of its times exists and falls into validDuring; change or remove it";
        faults.push(Fault::new(format!("spec.triggers[{place}]"), Reason::NoEffect, message));
    }
}

/// Whether there is a time when it fires, by the clock on the wall: a change to summer time delays it, and never takes all of its times.
fn fires(trigger: &When, windows: &[Span]) -> bool {
    let is_valid = |weekday: usize, minute: u16| {
        windows.is_empty() || windows.iter().any(|span| span.has(weekday, minute))
    };
    match trigger {
        When::Every => true,
        When::At(minute) => (0..7).any(|weekday| is_valid(weekday, *minute)),
        When::Cron(cron) => {
            let pattern = &cron.pattern;
            let minutes: Vec<u16> = (0..MINUTES_OF_DAY)
                .filter(|minute| {
                    pattern.hour_match(u32::from(minute / 60)).unwrap_or_default()
                        && pattern.minute_match(u32::from(minute % 60)).unwrap_or_default()
                })
                .collect();
            let days: [bool; 7] =
                std::array::from_fn(|weekday| minutes.iter().any(|minute| is_valid(weekday, *minute)));
            let mut day = date(2001, 1, 1);
            for _ in 0..CALENDAR {
                let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or_default();
                if days.get(weekday).copied().unwrap_or_default() && is_day_of(cron, day) {
                    return true;
                }
                match day.tomorrow() {
                    Ok(next) => day = next,
                    Err(_) => break,
                }
            }
            false
        }
    }
}

fn is_day_of(cron: &Cron, day: Date) -> bool {
    use croner::Weekday;
    let weekday = match day.weekday() {
        jiff::civil::Weekday::Monday => Weekday::Monday,
        jiff::civil::Weekday::Tuesday => Weekday::Tuesday,
        jiff::civil::Weekday::Wednesday => Weekday::Wednesday,
        jiff::civil::Weekday::Thursday => Weekday::Thursday,
        jiff::civil::Weekday::Friday => Weekday::Friday,
        jiff::civil::Weekday::Saturday => Weekday::Saturday,
        jiff::civil::Weekday::Sunday => Weekday::Sunday,
    };
    let number = |part: i8| u32::try_from(part).unwrap_or_default();
    let (year, month, of_month) = (i32::from(day.year()), number(day.month()), number(day.day()));
    cron.pattern.month_match(month).unwrap_or_default()
        && cron.pattern.day_match(year, month, of_month, weekday).unwrap_or_default()
}

/// What is remembered of a schedule.
pub(crate) type Judged = (Arc<MailSchedule>, Arc<[Fault]>);

#[cfg(test)]
mod tests {
    use posthouse_crds::MailScheduleSpec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_schedule_says_it_is_judged_without_a_panic(
            cron in "[0-9*/,#?LWlw@ A-Za-z+-]{0,24}|([0-9*/,#?LW-]{1,6} ){4}[0-9*/,#LW-]{1,6}",
            time in "[0-9:]{0,6}|\\PC{0,5}",
        ) {
            let trigger = |every, at, cron| Trigger { every, at, cron };
            let triggers = vec![trigger(None, None, Some(cron)), trigger(None, Some(time.clone()), None)];
            let window = Window { days: vec![Day::Sun], from: time.clone(), to: "02:00".to_owned() };
            let (time_zone, valid_during) = (Some(time), vec![window]);
            faults(&MailSchedule::new("s", MailScheduleSpec { time_zone, suspend: false, triggers, valid_during }));
        }
    }
}
