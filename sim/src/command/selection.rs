//! `--only gap=5s`: some of the runs of a file.

use std::str::FromStr;

use finwait_sim::scenario::Label;

/// One value of one parameter. Several of one parameter: any of them.
#[derive(Clone)]
pub(super) struct Selection {
    name: String,
    value: String,
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let (name, value) = pair.ok_or("select a value as in gap=5s or \"variant=as it is\"")?;
        Ok(Self { name: name.into(), value: value.into() })
    }
}

impl Selection {
    /// Whether the run with this label is requested.
    pub(super) fn selects(all: &[Self], label: &Label) -> bool {
        all.iter().all(|it| {
            let of_this_name = all.iter().filter(|other| other.name == it.name);
            let mut values = of_this_name.map(|other| other.value.as_str());
            // A file may have several orders, all under one name.
            let has = |value| label.0.iter().any(|(name, has)| *name == it.name && has == value);
            values.any(has)
        })
    }

    /// # Errors
    /// A value that no run has, with those there are; or no run has all of them.
    pub(super) fn check(all: &[Self], labels: &[Label]) -> Result<(), String> {
        for Self { name, value } in all {
            let mut values: Vec<&str> = Vec::new();
            for (_, has) in labels.iter().flat_map(|label| &label.0).filter(|(has, _)| has == name) {
                if !values.contains(&has.as_str()) {
                    values.push(has);
                }
            }
            if values.is_empty() {
                return Err(match parameters(labels).as_slice() {
                    [] => format!("no parameter `{name}`: the file has one run"),
                    names => format!("no parameter `{name}`: its runs differ in {}", names.join(" and ")),
                });
            }
            if !values.contains(&value.as_str()) {
                return Err(format!("no run with {name}={value}: there are {}", values.join(", ")));
            }
        }
        match labels.iter().any(|label| Self::selects(all, label)) {
            true => Ok(()),
            false => Err("no run has all of these values".into()),
        }
    }
}

fn parameters(labels: &[Label]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in labels.iter().flat_map(|label| &label.0) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<Label> {
        let label =
            |gap: &str, variant: &str| Label(vec![("gap".into(), gap.into()), ("variant".into(), variant.into())]);
        vec![label("4s", "as it is"), label("4s", "patched"), label("5s", "as it is"), label("5s", "patched")]
    }

    fn selected(texts: &[&str]) -> Result<usize, String> {
        let all: Vec<Selection> = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Selection::check(&all, &labels())?;
        Ok(labels().iter().filter(|label| Selection::selects(&all, label)).count())
    }

    #[test]
    fn values_of_one_parameter_add_and_parameters_narrow() {
        assert_eq!(selected(&[]), Ok(4));
        assert_eq!(selected(&["gap=5s"]), Ok(2));
        assert_eq!(selected(&["gap=5s", "gap=4s"]), Ok(4));
        assert_eq!(selected(&["gap=5s", "variant=as it is"]), Ok(1));
    }

    #[test]
    fn what_no_run_has_is_refused_with_what_there_is() {
        assert_eq!(selected(&["gap=6s"]), Err("no run with gap=6s: there are 4s, 5s".into()));
        assert_eq!(selected(&["size=6s"]), Err("no parameter `size`: its runs differ in gap and variant".into()));
        assert!(selected(&["5s"]).is_err());
    }
}
