//! One file, several runs: `sweep` puts values in place of `$name`, `variants` changes configurations, `orders` plays two
//! events both ways round, `seeds` repeats the run under other chances.

mod chance;

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::scenario::document::Document;
use crate::scenario::expect::{Label, When};
use crate::scenario::script::{Cue, Step};
use crate::scenario::tree::options;
use crate::scenario::tree::{SweepValue, sweep_values};
use crate::scenario::units::Time;
use crate::scenario::{Ordered, Patch, ScenarioError};

/// Runs that one file may request, seeds not counted.
const RUNS_MAX: usize = 1_000;

/// The part of a file that sets how often it is played, and what differs.
#[derive(Debug)]
pub(crate) struct Variations {
    /// The values of each parameter, with their labels.
    sweep: Vec<(String, Vec<(String, SweepValue)>)>,
    variants: Ordered<Ordered<Patch>>,
    orders: Vec<Spanned<[String; 2]>>,
}

/// The same as it is written.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    sweep: Ordered<Values>,
    /// By name, and then by host.
    #[serde(default)]
    variants: Ordered<Ordered<Patch>>,
    #[serde(default)]
    orders: Vec<Spanned<[String; 2]>>,
}

/// The values of a parameter.
enum Values {
    /// They are read from the file's tree, which has their spelling.
    Listed,
    Range(Vec<Time>),
}

/// The name of the variant among the parameters.
const VARIANT: &str = "variant";
/// The name of an order among the parameters.
const ORDER: &str = "order";

impl Variations {
    /// Reads this part of a file.
    ///
    /// # Errors
    /// It is no YAML, or a value is of the wrong type or too long.
    pub(crate) fn read(path: &str, text: &str) -> Result<Self, ScenarioError> {
        let mistake = |mistake| ScenarioError::of_substitution(path, text, mistake);
        let listed = sweep_values(text).map_err(mistake)?;
        // `<<: $name` is YAML only with a mapping in place.
        let first = |name: &str| listed.iter().find(|(has, _)| has == name)?.1.first();
        let document = Document::substitute(text, "", &first).map_err(mistake)?;
        let written: Written = serde_yaml::from_str_with_options(document.as_read(), options(document.as_read()))
            .map_err(|error| ScenarioError::of_yaml(path, &document, &error))?;
        let mut listed = listed.into_iter();
        let mut sweep = Vec::new();
        for (name, values) in written.sweep.0 {
            let listed = listed.next().map(|(_, values)| values).unwrap_or_default();
            let values = match values {
                Values::Listed => listed,
                Values::Range(times) => times.iter().map(|time| SweepValue::plain(&time.to_string())).collect(),
            };
            sweep.push((name, labelled(values)));
        }
        Ok(Self { sweep, variants: written.variants, orders: written.orders })
    }

    /// Every combination, the last parameter changing fastest; one without parameters if nothing varies.
    ///
    /// # Errors
    /// There would be too many.
    pub(crate) fn labels(&self) -> Result<Vec<Label>, String> {
        let labels = |values: &[(String, SweepValue)]| values.iter().map(|(label, _)| label.clone()).collect();
        let sweep = self.sweep.iter().map(|(name, values)| (name.clone(), labels(values)));
        let variants: Vec<String> = self.variants.iter().map(|(name, _)| name.to_owned()).collect();
        let variants = (!variants.is_empty()).then(|| (VARIANT.to_owned(), variants));
        let orders = self.orders.iter().map(|pair| {
            let [a, b] = &pair.value;
            (ORDER.to_owned(), vec![format!("{a} before {b}"), format!("{b} before {a}")])
        });
        let mut labels = vec![Label::default()];
        for (name, values) in sweep.chain(variants).chain(orders) {
            let with = |label: &Label, value: &String| {
                Label(label.0.iter().cloned().chain([(name.clone(), value.clone())]).collect())
            };
            labels = labels.iter().flat_map(|label| values.iter().map(move |value| with(label, value))).collect();
            if labels.len() > RUNS_MAX {
                return Err(format!("the file has more than {RUNS_MAX} runs"));
            }
        }
        Ok(labels)
    }

    /// What is wrong with naming runs like this, if anything: a value that no run has would be about nothing, silently.
    pub(crate) fn misfit(&self, when: &When, labels: &[Label]) -> Option<String> {
        if labels.iter().all(|label| label.0.is_empty()) {
            return Some("the scenario has one run: add `sweep`, `variants` or `orders`, or remove this".into());
        }
        let known = |of: Option<&str>| -> Vec<&str> {
            let mut known = Vec::new();
            for (name, value) in labels.iter().flat_map(|label| &label.0) {
                if of.is_none_or(|of| of == name) && !known.contains(&value.as_str()) {
                    known.push(value);
                }
            }
            known
        };
        let missing = |of: Option<&str>, values: &[String]| {
            let known = known(of);
            let value = values.iter().find(|value| !known.contains(&value.as_str()))?;
            let whose = of.map_or_else(|| "no run has the value".into(), |of| format!("`{of}` never has the value"));
            Some(format!("{whose} `{value}`: known here are {}", some_of(&known)))
        };
        match when {
            When::Any(values) => missing(None, values),
            When::Parameters(wanted) => wanted.iter().find_map(|(name, values)| {
                if labels.iter().all(|label| label.get(name).is_none()) {
                    let names: Vec<&str> =
                        labels.first().into_iter().flat_map(|label| &label.0).map(|(name, _)| name.as_str()).collect();
                    return Some(format!("no parameter has the name `{name}`: known here are {}", some_of(&names)));
                }
                missing(Some(name), values)
            }),
        }
    }

    /// The file as one run reads it: `$name` is the value of the parameter `name`.
    ///
    /// # Errors
    /// A list or a mapping is named where only a text can be.
    pub(crate) fn substitute(&self, path: &str, text: &str, label: &Label) -> Result<Document, ScenarioError> {
        let value = |name: &str| {
            let (_, values) = self.sweep.iter().find(|(has, _)| has == name)?;
            let label = label.get(name)?;
            values.iter().find(|(has, _)| has == label).map(|(_, value)| value)
        };
        Document::substitute(text, &label.to_string(), &value)
            .map_err(|mistake| ScenarioError::of_substitution(path, text, mistake))
    }

    /// What a run's variant changes, by host.
    pub(crate) fn patches(&self, label: &Label) -> impl Iterator<Item = (&str, &Patch)> {
        let variant = label.get(VARIANT).and_then(|name| self.variants.iter().find(|(has, _)| *has == name));
        variant.into_iter().flat_map(|(_, patches)| patches.iter())
    }

    /// Puts the two events of every order into this run's order.
    ///
    /// # Errors
    /// There is no such event; with the place that names it.
    pub(crate) fn arrange(
        &self,
        script: &mut [Spanned<Cue>],
        label: &Label,
    ) -> Result<(), (serde_yaml::Location, String)> {
        for pair in &self.orders {
            let [a, b] = &pair.value;
            for event in [a, b] {
                if !names(script, event) {
                    return Err((pair.referenced, missing_event(event, &events(script))));
                }
            }
            let reversed = label.0.iter().any(|(name, value)| name == ORDER && *value == format!("{b} before {a}"));
            let (first, second) = if reversed { (b, a) } else { (a, b) };
            order(script, first, second);
        }
        Ok(())
    }
}

/// The values with their labels. Where two look alike, as 5 and "5" do, the second keeps its quotation marks.
fn labelled(values: Vec<SweepValue>) -> Vec<(String, SweepValue)> {
    let mut labelled: Vec<(String, SweepValue)> = Vec::new();
    for value in values {
        let shown = value.shown();
        let is_taken = labelled.iter().any(|(label, other)| *label == shown && *other != value);
        labelled.push((if is_taken { value.flow().to_owned() } else { shown }, value));
    }
    labelled
}

/// The first of them, for messages.
fn some_of(names: &[&str]) -> String {
    const NAMES_MAX: usize = 12; // what fits a few lines
    let shown = names.get(..NAMES_MAX).unwrap_or(names).join(", ");
    if names.len() > NAMES_MAX { format!("{shown} and {} more", names.len() - NAMES_MAX) } else { shown }
}

/// The names of all events, in the order of the file.
pub(crate) fn events(script: &[Spanned<Cue>]) -> Vec<String> {
    let here = script.iter().flat_map(|cue| cue.value.event.iter().cloned().chain(events(cue.value.step.inner())));
    here.collect()
}

/// The message about an event that no step has.
pub(crate) fn missing_event(event: &str, events: &[String]) -> String {
    match events {
        [] => format!("no step has `event: {event}`; add it to the step that this follows"),
        events => format!("no step has `event: {event}`: the events are {}", events.join(", ")),
    }
}

fn names(script: &[Spanned<Cue>], event: &str) -> bool {
    script.iter().any(|cue| cue.value.event.as_deref() == Some(event) || names(cue.value.step.inner(), event))
}

/// Within one sequence the two change places; otherwise the second waits for the first.
fn order(script: &mut [Spanned<Cue>], first: &str, second: &str) {
    let place =
        |script: &[Spanned<Cue>], event: &str| script.iter().position(|cue| cue.value.event.as_deref() == Some(event));
    if let (Some(one), Some(other)) = (place(script, first), place(script, second)) {
        if one > other {
            script.swap(one, other);
        }
        return;
    }
    for cue in script.iter_mut() {
        if cue.value.event.as_deref() == Some(second) {
            cue.value.follows = Some(first.into());
        }
        if let Step::Background(inner) = &mut cue.value.step {
            order(inner, first, second);
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListOrRange)
    }
}

struct ListOrRange;

impl<'de> Visitor<'de> for ListOrRange {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values, or a range such as `{ from: 1s, to: 2s, step: 100ms }`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut is_empty = true;
        while list.next_element::<IgnoredAny>()?.is_some() {
            is_empty = false;
        }
        if is_empty {
            Err(A::Error::custom("a parameter needs values: a list, or `{ from: 1s, to: 2s, step: 100ms }`"))
        } else {
            Ok(Values::Listed)
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Values, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Range {
            from: Time,
            to: Time,
            step: Time,
        }
        let Range { from, to, step } = Range::deserialize(MapAccessDeserializer::new(map))?;
        let mut at = from.0;
        let mut values = Vec::new();
        while at <= to.0 && !step.0.is_zero() && values.len() <= RUNS_MAX {
            values.push(Time(at));
            at += step.0;
        }
        if values.is_empty() {
            Err(A::Error::custom("a range needs a `step` above zero, and a `to` that is not before `from`"))
        } else {
            Ok(Values::Range(values))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variations(text: &str) -> Variations {
        Variations::read("x.yaml", text).unwrap()
    }

    #[test]
    fn every_combination_is_a_run() {
        let two = variations("sweep: { gap: [no, 2], size: { from: 1ms, to: 3ms, step: 1ms } }");
        let labels = two.labels().unwrap();
        assert_eq!(labels.len(), 6);
        let document =
            two.substitute("x.yaml", "wait: $gap # $gap $size\n$gaps: a $size", labels.last().unwrap()).unwrap();
        assert_eq!(document.as_read(), "wait: 2 # $gap $size\n$gaps: \"a 3ms\"");
    }

    #[test]
    fn values_that_look_alike_have_labels_of_their_own() {
        let alike = variations("sweep: { x: [5, \"5\", \"a\\r\\n\", 'a\\r\\n', { a: \"\\0\" }, [1, { b: }]] }");
        let labels: Vec<String> = alike.labels().unwrap().iter().map(ToString::to_string).collect();
        let expected = ["x=5", "x=\"5\"", "x=a\\r\\n", "x=\"a\\\\r\\\\n\"", "x=a: \"\\u0000\"", "x=1, { b: ~ }"];
        assert_eq!(labels, expected);
    }

    #[test]
    fn nothing_varies_in_one_run() {
        let none = variations("about: x");
        assert_eq!(none.labels().unwrap(), [Label::default()]);
    }

    #[test]
    fn events_of_one_sequence_change_places() {
        let mut script: Vec<Spanned<Cue>> =
            serde_yaml::from_str("[{ event: a, wait: 1s }, { wait: 2s }, { event: b, wait: 3s }]").unwrap();
        order(&mut script, "b", "a");
        let steps: Vec<String> = script.iter().map(|cue| cue.value.to_string()).collect();
        assert_eq!(steps, ["wait 3s", "wait 2s", "wait 1s"]);
    }

    #[test]
    fn events_of_two_sequences_wait_for_each_other() {
        let mut script: Vec<Spanned<Cue>> =
            serde_yaml::from_str("[{ background: [{ event: a, wait: 1s }] }, { event: b, wait: 3s }]").unwrap();
        order(&mut script, "a", "b");
        assert_eq!(script.last().unwrap().value.follows.as_deref(), Some("a"));
    }
}
