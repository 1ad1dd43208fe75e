//! The command line: `--name value`, `--name=value` and flags, nothing unknown.

use std::{collections::BTreeMap, str::FromStr};

use crate::error::{Failure, Result};

/// The options of one role, read.
#[derive(Debug)]
pub(crate) struct Args {
    given: BTreeMap<&'static str, String>,
}

impl Args {
    /// Reads `words`; `valued` options take a value, `flags` take none.
    ///
    /// # Errors
    /// [`Failure::Usage`] for an unknown option, one given twice, or a missing value.
    pub(crate) fn read(
        words: impl IntoIterator<Item = String>,
        valued: &[&'static str],
        flags: &[&'static str],
    ) -> Result<Self> {
        let mut given = BTreeMap::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let (key, value) = if let Some(key) = valued.iter().find(|it| **it == name) {
                let value = attached.or_else(|| words.next());
                (*key, value.ok_or_else(|| Failure::Usage(format!("{name} needs a value")))?)
            } else if let Some(key) = flags.iter().find(|it| **it == name) {
                (*key, String::new())
            } else {
                let known: Vec<&str> = valued.iter().chain(flags).copied().collect();
                let text = format!("unknown option {name}; there are {}", known.join(" "));
                return Err(Failure::Usage(text));
            };
            if given.insert(key, value).is_some() {
                return Err(Failure::Usage(format!("{key} is given twice")));
            }
        }
        Ok(Self { given })
    }

    /// Was this flag given?
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The text of an option.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The value of an option, or `default`.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the text does not parse.
    pub(crate) fn value<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        self.text(name).map_or(Ok(default), |text| parse(name, text))
    }

    /// A comma-separated list, if given.
    ///
    /// # Errors
    /// [`Failure::Usage`] when an item does not parse.
    pub(crate) fn list<T: FromStr>(&self, name: &str) -> Result<Option<Vec<T>>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.split(',').map(|item| parse(name, item.trim())).collect::<Result<_>>().map(Some)
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| Failure::Usage(format!("{name}: {text:?} is not understood")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args> {
        Args::read(line.split_whitespace().map(str::to_owned), &["--n", "--list"], &["--quick"])
    }

    #[test]
    fn values_flags_and_lists_are_read() {
        let args = read("--n=3 --quick --list 1,8,64").unwrap();
        assert_eq!(args.value("--n", 0).unwrap(), 3);
        assert!(args.flag("--quick"));
        assert_eq!(args.list::<u32>("--list").unwrap(), Some(vec![1, 8, 64]));
        assert_eq!(args.value("--other", 7).unwrap(), 7);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for line in ["--wat", "--n", "--n 1 --n 2", "stray"] {
            assert!(matches!(read(line), Err(Failure::Usage(_))), "{line}");
        }
        assert!(read("--n x").unwrap().value("--n", 0).is_err());
        assert!(read("--list 1,x").unwrap().list::<u32>("--list").is_err());
    }
}
