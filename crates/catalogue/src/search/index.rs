//! Which tools fit some words best.
//!
//! The ranking is the crate `bm25`'s: Okapi BM25, where words that few tools have count for more.
//! What is a word, and that a name counts for more than a description, is ours: a word is said as
//! often as it weighs.  A list of tools is small, and read far more often than it changes: the
//! whole index is made anew with its view.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Bound,
};

use bm25::{EmbedderBuilder, Embedding, Scorer, TokenEmbedder, TokenEmbedding, Tokenizer};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::SUMMARY_LEN_MAX;
use crate::{List, View};
use mcp_jsonrpc::object::Object;

/// How fast a repeated word ceases to count; a word of a description is said [`TEXT`] times.
const K1: f32 = 1.2 * TEXT as f32;
/// How much a long text counts for less.
const B: f32 = 0.6;
/// What a word counts that only begins like one that is looked for.
const BEGINNING: f32 = 0.4;
/// How many words that begin like those of a query are looked for besides.
const BEGINNINGS_MAX: usize = 64;
/// How much of a query is read, in bytes, and in words.
const QUERY_LEN_MAX: usize = 1 << 10;
const QUERY_WORDS_MAX: usize = 32;
/// How much of a tool is read, in words.
const TOOL_WORDS_MAX: usize = 512;

/// What a word counts by where it stands.
const NAME: usize = 9;
const TITLE: usize = 6;
const TEXT: usize = 3;
const ARGUMENT: usize = 2;
const ARGUMENT_TEXT: usize = 1;

/// The words of the tools that a view shows.
#[derive(Default)]
pub struct Index {
    tools: Vec<Tool>,
    /// Every word of any tool.
    words: BTreeSet<Box<str>>,
    ranking: Scorer<u32, u64>,
}

#[derive(Debug)]
struct Tool {
    name: Box<str>,
    summary: Box<str>,
}

/// Words that have been told apart already.
#[derive(Default)]
struct Apart;

/// Words by a hash of theirs.
struct Hashed;

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
        let all = view.all(List::Tools);
        let own: HashMap<&str, &str> =
            all.filter_map(|it| Some((it.exposed?, it.original))).collect();
        let listed = view.shown_as(List::Tools).zip(view.shown(List::Tools));
        let add = |(name, json): (&str, &str)| {
            // What it is called at home, if that is not to be seen from what it is called here.
            let own = own.get(name).filter(|own| !name.contains(**own));
            index.add(name, own.unwrap_or(&""), json)
        };
        let said: Vec<String> = listed.map(add).collect();
        let len: usize = said.iter().map(|it| it.split(' ').count()).sum();
        let len_mean = len as f32 / said.len().max(1) as f32;
        let embedder = EmbedderBuilder::<Hashed, Apart>::with_avgdl(len_mean).k1(K1).b(B).build();
        for (tool, said) in (0..).zip(&said) {
            let mut embedding = embedder.embed(said);
            // Once for each time it was said, and the same each time.
            embedding.0.sort_unstable_by_key(|it| it.index);
            embedding.0.dedup_by_key(|it| it.index);
            embedding.0.shrink_to_fit();
            index.ranking.upsert(&tool, embedding);
        }
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
        let beginnings = BEGINNINGS_MAX / wanted.len().max(1);
        let mut scores: HashMap<u32, f32> = HashMap::new();
        for word in &wanted {
            // Of one word a tool has only what fits best, however many begin alike.
            let mut best: HashMap<u32, f32> = self.having(word).collect();
            for longer in self.longer(word).take(beginnings) {
                for (tool, score) in self.having(longer) {
                    let known = best.entry(tool).or_default();
                    *known = known.max(score * BEGINNING);
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

    /// Notes a tool, and says its words, each as often as it weighs.
    fn add(&mut self, name: &str, own: &str, json: &str) -> String {
        let empty = Listed { title: None, description: None, schema: None };
        // What cannot be read is found by its name.
        let listed: Listed<'_> = serde_json::from_str(json).unwrap_or(empty);
        let description = listed.description.as_deref().unwrap_or_default();
        let mut texts = vec![
            (NAME, name),
            (NAME, own),
            (TITLE, listed.title.as_deref().unwrap_or_default()),
            (TEXT, description),
        ];
        let arguments = listed.schema.map(arguments).unwrap_or_default();
        texts.extend(arguments.iter().map(|(weight, it)| (*weight, &**it)));
        let weighed = texts.iter().flat_map(|(weight, it)| words(it).map(|word| (word, *weight)));
        let mut said = String::new();
        for (word, weight) in weighed.take(TOOL_WORDS_MAX) {
            for _ in 0..weight {
                said += if said.is_empty() { "" } else { " " };
                said += &word;
            }
            if !self.words.contains(&*word) {
                self.words.insert(word.into());
            }
        }
        self.tools.push(Tool { name: name.into(), summary: summary(description) });
        said
    }

    /// The tools that have a word, and how well they fit it.
    fn having(&self, word: &str) -> impl Iterator<Item = (u32, f32)> + use<> {
        let wanted = Embedding(vec![TokenEmbedding { index: Hashed::embed(word), value: 1.0 }]);
        self.ranking.matches(&wanted).into_iter().map(|it| (it.id, it.score))
    }

    /// The words that begin like this one.
    fn longer<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        let longer = self.words.range::<str, _>((Bound::Excluded(word), Bound::Unbounded));
        // Two letters begin too much.
        let is_enough = 3 <= word.chars().count();
        longer.map(|it| &**it).take_while(move |it| is_enough && it.starts_with(word))
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("tools", &self.tools.len()).finish_non_exhaustive()
    }
}

impl Tokenizer for Apart {
    fn tokenize(&self, said: &str) -> Vec<String> {
        said.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect()
    }
}

impl TokenEmbedder for Hashed {
    type EmbeddingSpace = u64;

    fn embed(word: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        hasher.finish()
    }
}

/// The names of arguments and what is said of them.
fn arguments(schema: &RawValue) -> Vec<(usize, String)> {
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

/// The words of a text: letters and digits, small, without a plural's end.  `readFile` is three,
/// itself among them, since `GitHub` is one to most; `read_file` is two.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty());
    let parts = parts.flat_map(|part| {
        let whole = humps(part).nth(1).map(|_| part);
        humps(part).chain(whole)
    });
    parts.map(|it| {
        let word = it.to_lowercase();
        let is_plural = word.len() > 3 && word.ends_with('s') && !word.ends_with("ss");
        match word.strip_suffix('s') {
            Some(one) if is_plural => one.to_owned(),
            _ => word,
        }
    })
}

/// The parts of a word that each begin with a capital, `HTTPServer` in two.
fn humps(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let mut before: Option<char> = None;
        let mut letters = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((at, it)) = letters.next() {
            let is_last = letters.peek().is_some_and(|(_, next)| next.is_lowercase());
            let ends = |before: char| it.is_uppercase() && (!before.is_uppercase() || is_last);
            if before.is_some_and(ends) {
                end = at;
                break;
            }
            before = Some(it);
        }
        let (hump, after) = rest.split_at_checked(end)?;
        rest = after;
        (!hump.is_empty()).then_some(hump)
    })
}

#[cfg(test)]
mod tests;
