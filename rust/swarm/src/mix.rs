//! Who watches what: a weighted list of channels with places for each watcher's own names.
//!
//! ```text
//! 20% board:global:top:10, 40% board:cohort-{cohort}:top:10 + board:global:member:{member}
//! ```
//!
//! Entries are separated by commas or line ends, channels of one watcher by `+`. Weights are any
//! numbers and relative; an entry without one weighs 1. `{member}` is `player-U` and `{cohort}` a
//! number, both of the user `U` that the watcher stands for. Shares are exact to a few
//! watchers, in all and in each process, and who watches what is the same in every run.

use std::f64::consts::SQRT_2;

use crate::Result;

/// What all watchers watch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mix {
    /// Every distinct channel template.
    pub(crate) templates: Vec<String>,
    entries: Vec<Entry>,
}

/// Some of the watchers.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// Share of the watchers, from 0 to 1.
    share: f64,
    /// Which templates they watch.
    templates: Vec<usize>,
}

/// The people behind the watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct People {
    /// How many users there are.
    pub(crate) members: u64,
    /// Into how many cohorts of neighbours they are divided.
    pub(crate) cohorts: u64,
}

impl People {
    /// The user that a watcher stands for. As long as there are not more watchers than users, no
    /// two of them are the same, and neighbouring watchers are strangers.
    pub(crate) fn user(self, watcher: u64) -> u64 {
        // Any number without a common divisor leads through all users before it repeats one.
        let near = (self.members as f64 * 0.618) as u64;
        let mut steps = near.max(1)..=self.members;
        let step = steps.find(|step| gcd(*step, self.members) == 1).unwrap_or(1);
        watcher % self.members * step % self.members
    }

    /// The cohort of a user.
    fn cohort(self, user: u64) -> u64 {
        user * self.cohorts / self.members
    }

    /// Fills in a template.
    fn channel(self, template: &str, user: u64) -> String {
        template
            .replace("{member}", &format!("player-{user}"))
            .replace("{cohort}", &self.cohort(user).to_string())
    }
}

impl Mix {
    /// Reads a mix from its text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut templates = Vec::new();
        let mut entries = Vec::new();
        for part in text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()) {
            let (weight, channels) = split_weight(part)?;
            let mut watched = Vec::new();
            for template in channels.split('+').map(str::trim) {
                check_template(template)?;
                let known = templates.iter().position(|known| known == template);
                watched.push(known.unwrap_or_else(|| {
                    templates.push(template.to_owned());
                    templates.len() - 1
                }));
            }
            entries.push(Entry { share: weight, templates: watched });
        }
        let sum: f64 = entries.iter().map(|entry| entry.share).sum();
        if sum <= 0.0 {
            return Err("mix: nobody watches anything".into());
        }
        for entry in &mut entries {
            entry.share /= sum;
        }
        Ok(Self { templates, entries })
    }

    /// The channels of a watcher, each with its template.
    pub(crate) fn channels(&self, people: People, watcher: u64) -> Vec<(usize, String)> {
        let user = people.user(watcher);
        let channel =
            |template: &usize| (*template, people.channel(&self.templates[*template], user));
        self.entry(watcher).templates.iter().map(channel).collect()
    }

    /// Most channels of a watcher.
    pub(crate) fn most(&self) -> usize {
        self.entries.iter().map(|entry| entry.templates.len()).max().unwrap_or_default()
    }

    /// The entry that a watcher belongs to.
    fn entry(&self, watcher: u64) -> &Entry {
        // Multiples of an irrational number spread evenly over the unit interval, so every run of
        // watchers has the shares, and so have the watchers of one process. It is another number
        // than in `People::user`: what somebody watches must say nothing about who it is.
        let place = (watcher as f64 * SQRT_2).fract();
        let mut end = 0.0;
        for entry in &self.entries {
            end += entry.share;
            if place < end {
                return entry;
            }
        }
        // Rounding may leave the sum a hair below 1.
        &self.entries[self.entries.len() - 1]
    }
}

/// Whether all watchers of a template watch the same few channels.
pub(crate) fn is_shared(template: &str) -> bool {
    !template.contains("{member}")
}

fn split_weight(part: &str) -> Result<(f64, &str)> {
    if part.starts_with("board:") {
        return Ok((1.0, part));
    }
    let (weight, channels) =
        part.split_once(char::is_whitespace).ok_or_else(|| format!("mix: {part:?}"))?;
    let number = weight.trim_end_matches('%').parse::<f64>().ok();
    match number.filter(|number| number.is_finite() && *number >= 0.0) {
        Some(number) => Ok((number, channels.trim())),
        None => Err(format!("mix: {weight:?} is no weight").into()),
    }
}

/// Refuses what has no state to check: only views with a `version` can be watched here.
fn check_template(template: &str) -> Result<()> {
    let kind = template.strip_prefix("board:").and_then(|rest| rest.split(':').nth(1));
    if matches!(kind, Some("top" | "page" | "member" | "around")) {
        Ok(())
    } else {
        Err(format!("mix: {template:?} is not a view of top, page, member or around").into())
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    const PEOPLE: People = People { members: 25_000, cohorts: 250 };

    #[test]
    fn a_mix_is_read_and_its_places_are_filled() {
        let mix = Mix::parse(
            "20% board:global:top:10,\n 30 board:cohort-{cohort}:top:10 + board:g:member:{member}",
        );
        let mix = mix.unwrap();
        let templates = ["board:global:top:10", "board:cohort-{cohort}:top:10"];
        assert_eq!(mix.templates[..2], templates);
        assert_eq!(mix.entries[0], Entry { share: 0.4, templates: vec![0] });
        assert_eq!(mix.entries[1], Entry { share: 0.6, templates: vec![1, 2] });
        let watcher = (0..10).find(|watcher| mix.channels(PEOPLE, *watcher).len() == 2).unwrap();
        let user = PEOPLE.user(watcher);
        assert_eq!(
            mix.channels(PEOPLE, watcher),
            [
                (1, format!("board:cohort-{}:top:10", user / 100)),
                (2, format!("board:g:member:player-{user}"))
            ]
        );
    }

    #[test]
    fn a_template_that_is_named_twice_is_one() {
        let mix = Mix::parse("board:a:top:1, 2 board:a:top:1+board:b:top:1").unwrap();
        assert_eq!(mix.templates, ["board:a:top:1", "board:b:top:1"]);
        assert_eq!(mix.entries[1].templates, [0, 1]);
    }

    #[test]
    fn shares_are_exact_in_all_and_in_each_process() {
        let text = "20% board:a:top:10, 40% board:b:top:10, 40% board:c:member:{member}";
        let mix = Mix::parse(text).unwrap();
        for (start, step) in [(0, 1), (0, 2), (1, 2), (2, 3)] {
            let mut counts: HashMap<usize, u32> = HashMap::new();
            for number in 0..6000 {
                let (template, _) = mix.channels(PEOPLE, start + step * number)[0].clone();
                *counts.entry(template).or_default() += 1;
            }
            for (template, wanted) in [(0, 1200), (1, 2400), (2, 2400)] {
                assert!(counts[&template].abs_diff(wanted) < 20, "{start} {step} {counts:?}");
            }
        }
    }

    #[test]
    fn every_watcher_is_another_user() {
        for members in [1, 2, 3, 10, 999, 1000, 25_000] {
            let people = People { members, cohorts: 1 };
            let users: HashSet<u64> = (0..members).map(|watcher| people.user(watcher)).collect();
            assert_eq!(users.len() as u64, members);
            assert!(users.iter().all(|user| *user < members));
        }
    }

    #[test]
    fn what_somebody_watches_says_nothing_about_who_it_is() {
        let text = "20% board:a:top:10, 80% board:b-{cohort}:top:10";
        let mix = Mix::parse(text).unwrap();
        let few = |watcher: &u64| mix.channels(PEOPLE, *watcher)[0].0 == 0;
        let users: Vec<_> = (0..2000).filter(few).map(|watcher| PEOPLE.user(watcher)).collect();
        let low = users.iter().filter(|user| **user < PEOPLE.members / 2).count();
        assert!(low.abs_diff(users.len() / 2) < users.len() / 20, "{low} of {}", users.len());
        let cohorts: HashSet<String> = (0..18_750)
            .filter(|watcher| !few(watcher))
            .filter_map(|watcher| Some(mix.channels(PEOPLE, watcher).pop()?.1))
            .collect();
        assert_eq!(cohorts.len(), 250);
    }

    #[test]
    fn bad_mixes_are_refused() {
        for text in [
            "",
            "0 board:a:top:1",
            "x board:a:top:1",
            "-1 board:a:top:1",
            "inf board:a:top:1",
            "top:10",
            "board:a:events",
            "board:a",
            "board:a:top:1 + x",
        ] {
            assert!(Mix::parse(text).is_err(), "{text:?}");
        }
    }
}
