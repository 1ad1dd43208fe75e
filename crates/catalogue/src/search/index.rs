//! Which tools fit some words best.
//!
//! Okapi BM25 over fields of different weight (BM25F): words that few tools have count for more,
//! and a name counts for more than a description.  A list of tools is small, and read far more
//! often than it changes: the whole index is made anew with its view.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::SUMMARY_LEN_MAX;
use crate::{List, View};
use mcp_jsonrpc::object::Object;

/// How fast a repeated word ceases to count.
const K1: f32 = 1.2;
/// How much a long text counts for less.
const B: f32 = 0.6;
/// What a word counts that only begins like one that is looked for.
const BEGINNING: f32 = 0.4;
/// How many words may begin alike.
const BEGINNINGS_MAX: usize = 64;
/// How much of a query is read, in bytes, and in words.
const QUERY_LEN_MAX: usize = 1 << 10;
const QUERY_WORDS_MAX: usize = 32;
/// How much of a tool is read, in words.
const TOOL_WORDS_MAX: usize = 1 << 10;

/// What a word counts by where it stands.
const NAME: f32 = 3.0;
const TITLE: f32 = 2.0;
const TEXT: f32 = 1.0;
const ARGUMENT: f32 = 0.7;
const ARGUMENT_TEXT: f32 = 0.3;

/// The words of the tools that a view shows.
#[derive(Debug, Default)]
pub struct Index {
    tools: Vec<Tool>,
    words: BTreeMap<Box<str>, Vec<Place>>,
    len_mean: f32,
}

#[derive(Debug)]
struct Tool {
    name: Box<str>,
    summary: Box<str>,
    len: f32,
}

/// In which tool a word is, and what it counts there.
#[derive(Debug)]
struct Place {
    tool: u32,
    weight: f32,
}

/// A tool that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit<'a> {
    /// The name by which it is called.
    pub name: &'a str,
    /// The beginning of what it says of itself.
    pub summary: &'a str,
    /// How well it fits; of use to compare with others of the same search.
    pub score: f32,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow, default)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "inputSchema")]
    schema: Option<&'a RawValue>,
}

impl Index {
    /// The words of the tools that a view shows.
    pub fn new(view: &View) -> Self {
        let mut index = Self::default();
        for (name, json) in view.shown_as(List::Tools).zip(view.shown(List::Tools)) {
            index.add(name, json);
        }
        let len: f32 = index.tools.iter().map(|it| it.len).sum();
        index.len_mean = (len / index.tools.len().max(1) as f32).max(1.0);
        index
    }

    /// How many tools there are.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The tools that fit a query best, the best one first; of those that fit alike, by name.
    pub fn search(&self, query: &str, limit: usize) -> Vec<Hit<'_>> {
        let query = query.get(..query.floor_char_boundary(QUERY_LEN_MAX)).unwrap_or_default();
        let wanted: BTreeSet<String> = words(query).take(QUERY_WORDS_MAX).collect();
        let mut scores: HashMap<u32, f32> = HashMap::new();
        for word in &wanted {
            // Of one word a tool has only what fits best, however many begin alike.
            let mut best: HashMap<u32, f32> = HashMap::new();
            for (factor, places) in self.like(word) {
                let rarity = self.rarity(places.len());
                for place in places {
                    let score = factor * rarity * self.saturated(place);
                    let known = best.entry(place.tool).or_default();
                    *known = known.max(score);
                }
            }
            best.into_iter().for_each(|(tool, score)| *scores.entry(tool).or_default() += score);
        }
        let hit = |(tool, score): (u32, f32)| {
            let tool = self.tools.get(tool as usize)?;
            // Who knows a name gets what it names.
            let score = if *tool.name == *query.trim() { f32::MAX } else { score };
            Some(Hit { name: &tool.name, summary: &tool.summary, score })
        };
        let mut hits: Vec<Hit<'_>> = scores.into_iter().filter_map(hit).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(b.name)));
        hits.truncate(limit);
        hits
    }

    fn add(&mut self, name: &str, json: &str) {
        let empty = Listed { title: None, description: None, schema: None };
        // What cannot be read is found by its name.
        let listed: Listed<'_> = serde_json::from_str(json).unwrap_or(empty);
        let description = listed.description.as_deref().unwrap_or_default();
        let mut texts = vec![
            (NAME, name),
            (TITLE, listed.title.as_deref().unwrap_or_default()),
            (TEXT, description),
        ];
        let arguments = listed.schema.map(arguments).unwrap_or_default();
        texts.extend(arguments.iter().map(|(weight, it)| (*weight, &**it)));
        let weighed = texts.iter().flat_map(|(weight, it)| words(it).map(|word| (word, *weight)));
        let mut weights: BTreeMap<String, f32> = BTreeMap::new();
        let mut len = 0.0;
        for (word, weight) in weighed.take(TOOL_WORDS_MAX) {
            *weights.entry(word).or_default() += weight;
            len += weight;
        }
        let tool = self.tools.len() as u32;
        for (word, weight) in weights {
            self.words.entry(word.into()).or_default().push(Place { tool, weight });
        }
        self.tools.push(Tool { name: name.into(), summary: summary(description), len });
    }

    /// The places of a word, and of those that begin like it.
    fn like(&self, word: &str) -> impl Iterator<Item = (f32, &[Place])> {
        let exact = self.words.get(word).map(|it| (1.0, it.as_slice()));
        let longer = self
            .words
            .range::<str, _>((std::ops::Bound::Excluded(word), std::ops::Bound::Unbounded));
        // Two letters begin too much.
        let count = if word.chars().count() < 3 { 0 } else { BEGINNINGS_MAX };
        let word = word.to_owned();
        let longer = longer.take_while(move |(it, _)| it.starts_with(&word)).take(count);
        exact.into_iter().chain(longer.map(|(_, places)| (BEGINNING, places.as_slice())))
    }

    fn rarity(&self, having: usize) -> f32 {
        let (all, having) = (self.tools.len() as f32, having as f32);
        (1.0 + (all - having + 0.5) / (having + 0.5)).ln()
    }

    fn saturated(&self, place: &Place) -> f32 {
        let len = self.tools.get(place.tool as usize).map_or(1.0, |it| it.len);
        let long = 1.0 - B + B * len / self.len_mean;
        place.weight * (K1 + 1.0) / (place.weight + K1 * long)
    }
}

/// The names of arguments and what is said of them.
fn arguments(schema: &RawValue) -> Vec<(f32, String)> {
    let read = || {
        let schema = Object::read(schema).ok()?;
        let properties = Object::read(schema.get("properties")?).ok()?;
        let texts = properties.members().flat_map(|(name, property)| {
            let text = Object::read(property).ok().and_then(|it| it.text("description"));
            [(ARGUMENT, name.to_owned()), (ARGUMENT_TEXT, text.unwrap_or_default())]
        });
        Some(texts.collect())
    };
    read().unwrap_or_default()
}

/// The first line of a description, or as much of it as is shown.
fn summary(description: &str) -> Box<str> {
    let line = description.lines().map(str::trim).find(|it| !it.is_empty()).unwrap_or_default();
    match line.char_indices().nth(SUMMARY_LEN_MAX) {
        Some((at, _)) => [line.get(..at).unwrap_or_default(), "…"].concat().into(),
        None => line.into(),
    }
}

/// The words of a text: letters and digits, small, without a plural's end; `readFile` is two, and
/// so is `read_file`.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty());
    parts.flat_map(humps).map(|it| {
        let word = it.to_lowercase();
        let is_plural = word.len() > 3 && word.ends_with('s') && !word.ends_with("ss");
        match word.strip_suffix('s') {
            Some(one) if is_plural => one.to_owned(),
            _ => word,
        }
    })
}

/// The parts of a word that each begin with a capital.
fn humps(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let mut was_small = false;
        let end = rest.char_indices().find_map(|(at, it)| {
            let begins = was_small && it.is_uppercase();
            was_small = it.is_lowercase() || it.is_numeric();
            begins.then_some(at)
        });
        let (hump, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = after;
        (!hump.is_empty()).then_some(hump)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_words_are() {
        let all = |text: &str| words(text).collect::<Vec<_>>();
        assert_eq!(all("git__readFiles, HTTP2 x"), ["git", "read", "file", "http2", "x"]);
        assert_eq!(
            all("getURL class ÄÖÜ-straßen 日本"),
            ["get", "url", "class", "äöü", "straßen", "日本"]
        );
        assert_eq!(all(" -_ "), Vec::<String>::new());
    }

    #[test]
    fn what_is_shown_of_a_description() {
        assert_eq!(&*summary("\n  Reads a file.  \n\nMore."), "Reads a file.");
        assert_eq!(summary(&"ü".repeat(300)).chars().count(), SUMMARY_LEN_MAX + 1);
    }
}
