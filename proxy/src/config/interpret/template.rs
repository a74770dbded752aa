//! Path templates such as `/users/{id}/{rest=**}`, as the matchers and rewriters by URI template have them: they become regular
//! expressions with a group for each variable.

use super::pattern::whole_of;
use crate::config::constraints::NonEmpty;
use crate::config::problem::Problem;
use crate::config::rewrite::{Piece, Substitution};
use crate::config::yaml::At;

/// Envoy's bound on variables.
const VARIABLES_MAX: usize = 5;

/// Envoy's bound on the name of a variable. Characters.
const NAME_LENGTH_MAX: usize = 16;

/// What a segment, or a part of it, may consist of: `pchar` of RFC 3986 3.3 without `*`, which is an operator here.
const SEGMENT: &str = r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]";

/// A template of paths.
pub(super) struct Template<'w> {
    written: &'w At<NonEmpty>,
    /// As an expression.
    expression: String,
    /// In the order of their groups, from 1.
    variables: Vec<String>,
}

impl<'w> Template<'w> {
    pub(super) fn parse(written: &'w At<NonEmpty>) -> Result<Self, Problem> {
        let mut template = Self { written, expression: String::new(), variables: Vec::new() };
        let Some(segments) = written.value.strip_prefix('/') else {
            return Err(written.invalid("a template begins with /"));
        };
        let mut rest = segments;
        template.expression.push('/');
        while !rest.is_empty() {
            rest = template.part(rest).map_err(|what| written.invalid(what))?;
        }
        Ok(template)
    }

    /// The expression that matches whole paths.
    pub(super) fn regex(&self) -> Result<regex::Regex, Problem> {
        whole_of(self.written, &self.expression)
    }

    /// Reads what stands first in `text`; the rest.
    fn part<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        if let Some(rest) = text.strip_prefix('{') {
            let (variable, rest) = rest.split_once('}').ok_or("a variable is not closed: } is missing")?;
            self.variable(variable, rest)?;
            return Ok(rest);
        }
        if let Some(rest) = text.strip_prefix("**") {
            if !rest.is_empty() {
                return Err(LAST.to_owned());
            }
            // The same characters, and slashes between them.
            self.expression.push_str(&SEGMENT.replace("=]", "=/]*"));
            return Ok(rest);
        }
        if let Some(rest) = text.strip_prefix('*') {
            self.expression.push_str(SEGMENT);
            self.expression.push('+');
            return Ok(rest);
        }
        let end = text.find(['{', '*']).unwrap_or(text.len());
        let (literal, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        if let Some(wrong) =
            literal.chars().find(|char| !(char.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@=/".contains(*char)))
        {
            return Err(format!("{wrong:?} does not stand in a path"));
        }
        self.expression.push_str(&regex::escape(literal));
        Ok(rest)
    }

    fn variable(&mut self, variable: &str, rest: &str) -> Result<(), String> {
        let (name, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.len() <= NAME_LENGTH_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            return Err(format!(
                "{name:?} is not a name of a variable: letters, digits and _, at most {NAME_LENGTH_MAX}"
            ));
        }
        if self.variables.iter().any(|known| known == name) {
            return Err(format!("the variable {name} stands there twice"));
        }
        if self.variables.len() == VARIABLES_MAX {
            return Err(format!("a template has at most {VARIABLES_MAX} variables"));
        }
        self.variables.push(name.to_owned());
        self.expression.push('(');
        let mut pattern = pattern;
        while !pattern.is_empty() {
            if pattern.contains('{') {
                return Err("a variable cannot stand within another".to_owned());
            }
            if pattern.ends_with("**") && !rest.is_empty() {
                return Err(LAST.to_owned());
            }
            pattern = self.part(pattern)?;
        }
        self.expression.push(')');
        Ok(())
    }

    /// What a rewrite template such as `/{rest}/{id}` puts in the place of a path that this one matches.
    pub(super) fn substitution(&self, rewrite: &At<NonEmpty>) -> Result<Substitution, Problem> {
        let mut pieces = Vec::new();
        let mut rest: &str = &rewrite.value;
        if !rest.starts_with('/') {
            return Err(rewrite.invalid("a template begins with /"));
        }
        if rest.contains("//") {
            return Err(rewrite.invalid("a template has no empty segment: write one slash for //"));
        }
        while let Some((literal, after)) = rest.split_once('{') {
            let Some((name, next)) = after.split_once('}') else {
                return Err(rewrite.invalid("a variable is not closed: } is missing"));
            };
            let Some(index) = self.variables.iter().position(|known| known == name) else {
                return Err(rewrite.invalid(format!("the matched template has no variable {name:?}")));
            };
            pieces.extend(self::literal(literal, rewrite)?);
            pieces.push(Piece::Group(index + 1));
            rest = next;
        }
        pieces.extend(literal(rest, rewrite)?);
        Ok(Substitution(pieces))
    }
}

/// A part of a rewrite that is no variable: what a path may consist of (RFC 3986 3.3).
fn literal(text: &str, of: &At<NonEmpty>) -> Result<Option<Piece>, Problem> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;:@=/".contains(&byte);
    match text.bytes().all(is_allowed) {
        true => Ok((!text.is_empty()).then(|| Piece::Literal(text.to_owned()))),
        false => {
            Err(of.invalid("a path has letters, digits and -._~%!$&'()*+,;:@=/ alone; write anything else as %XX"))
        }
    }
}

const LAST: &str = "** is the last part of a template";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::error::Place;
    use crate::config::rewrite::{RegexRewrite, is_part_of_target};

    fn at(text: &str) -> At<NonEmpty> {
        At { place: Place { path: String::new(), at: None }, value: text.into() }
    }

    #[test]
    fn a_template_matches_whole_paths_segment_by_segment() {
        for (template, taken, left) in [
            ("/a/*/c", &["/a/b/c"][..], &["/a/c", "/a//c", "/a/b/b/c", "/a/b/c/", "/x/a/b/c"][..]),
            ("/a/**", &["/a/", "/a/b/c"], &["/a", "/b/"]),
            ("/{x}/{y=**}", &["/1/", "/1/2/3"], &["/1", "//2"]),
            ("/v1/{x=a/*}/end", &["/v1/a/b/end"], &["/v1/b/b/end", "/v1/a/end"]),
            ("/a.{x}", &["/a.json"], &["/ajson", "/a."]),
        ] {
            let template = at(template);
            let regex = Template::parse(&template).unwrap().regex().unwrap();
            assert!(taken.iter().all(|path| regex.is_match(path)), "{regex}");
            assert!(left.iter().all(|path| !regex.is_match(path)), "{regex}");
        }
    }

    proptest! {
        #[test]
        fn what_a_template_makes_of_a_path_is_a_path_again(
            template in "(/([a-z*]{0,2}|[{][a-z](=[a-z*/]{1,3})?[}]|[*][*]|[!-~]{1,3})){1,4}",
            rewrite in "(/([a-z.]{0,2}|[{][a-z][}]|[!-~]{1,3})){1,3}",
            paths in prop::collection::vec("(/([a-z]|[!-~&&[^?#]]{0,3})){1,4}", 8),
        ) {
            let written = at(&template);
            let Ok(template) = Template::parse(&written) else { return Ok(()) };
            let pattern = template.regex().unwrap();
            let Ok(substitution) = template.substitution(&at(&rewrite)) else { return Ok(()) };
            let rewrite = RegexRewrite { pattern, substitution };
            for path in paths.iter().filter(|path| rewrite.pattern.is_match(path)) {
                let made = rewrite.replace_all(path);
                prop_assert!(made.starts_with('/') && is_part_of_target(made.as_bytes()), "{} {}", path, made);
            }
        }
    }

    #[test]
    fn an_invalid_template_is_refused() {
        for template in
            ["a", "/{x", "/{1}", "/{x}/{x}", "/**/a", "/{x=**}/a", "/{x={y}}", "/a b", "/{a}{b}{c}{d}{e}{f}"]
        {
            assert!(Template::parse(&at(template)).is_err(), "{template}");
        }
    }

    #[test]
    fn a_rewrite_names_the_variables_of_what_was_matched() {
        let template = at("/{a}/{b=**}");
        let template = Template::parse(&template).unwrap();
        let literal = |text: &str| Piece::Literal(text.to_owned());
        let expected = vec![literal("/x"), Piece::Group(2), literal("/"), Piece::Group(1)];
        assert_eq!(template.substitution(&at("/x{b}/{a}")).unwrap(), Substitution(expected));
        assert!(
            ["{a}", "/{c}", "/{a", "/#", "/a?b", "//{a}"]
                .iter()
                .all(|rewrite| template.substitution(&at(rewrite)).is_err())
        );
    }
}
