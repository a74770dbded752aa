//! The sources of both crates, parsed: which modules there are, and which names each of them uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, ItemFn, ItemUse, Macro, Meta, UseTree};

/// A module's path below the crate: `["explain", "wire"]`; none for lib.rs.
pub(crate) type Module = Vec<String>;

/// One crate of the workspace.
pub(crate) struct Crate {
    /// The package's folder.
    pub(crate) folder: &'static str,
    /// What its own binary calls it.
    pub(crate) name: &'static str,
    pub(crate) sources: Vec<Source>,
}

/// One source file, without its tests.
pub(crate) struct Source {
    /// Below the package, with `/`: `src/net/mod.rs`.
    pub(crate) name: String,
    pub(crate) module: Module,
    pub(crate) text: String,
    pub(crate) functions: Vec<Function>,
    /// Every path that the file names, as it is written: `["crate", "net", "Io"]`, `["super", "x"]`.
    pub(crate) paths: Vec<Vec<String>>,
    /// What `use` brings in: the name here, and the path it stands for.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
}

pub(crate) struct Function {
    pub(crate) name: String,
    /// From the signature to the closing brace.
    pub(crate) lines: usize,
}

impl Source {
    /// Without the inline tests at its end.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]")
    }
}

impl Crate {
    pub(crate) fn read(folder: &'static str, name: &'static str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let mut sources = Vec::new();
        for path in rust_files(&root.join("src")) {
            let name = path.strip_prefix(&root).expect("it was found below the root");
            let name = name.to_string_lossy().replace('\\', "/");
            if name.split(['/', '.']).any(|part| part == "tests" || part == "corpus") {
                continue;
            }
            let text = read(&path);
            let file = syn::parse_file(&text).expect("sources that compile can be parsed");
            let mut uses = Uses::default();
            uses.visit_file(&file);
            let Uses { functions, paths, imports } = uses;
            let module = module(&name);
            sources.push(Source { name, module, text, functions, paths, imports });
        }
        assert!(sources.len() > 20, "the sources of {folder} are found");
        Self { folder, name, sources }
    }

    /// The modules that the sources are: files and folders.
    pub(crate) fn modules(&self) -> BTreeSet<Module> {
        self.sources.iter().map(|source| source.module.clone()).collect()
    }

    /// The modules that a file names, each with the path by which it does. A name that a folder's `mod.rs` passes on
    /// leads to the module that has it.
    pub(crate) fn named_by(&self, source: &Source) -> Vec<Module> {
        let modules = self.modules();
        let imported = source.imports.values();
        let absolute = source.paths.iter().chain(imported).filter_map(|path| self.absolute(source, path));
        absolute.map(|path| self.owner(&modules, &path)).collect()
    }

    /// The path from the crate's root, of a path that begins in this crate.
    fn absolute(&self, source: &Source, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        if first == "crate" || *first == self.name {
            return Some(rest.to_vec());
        }
        let supers = path.iter().take_while(|part| *part == "super").count();
        if supers > 0 {
            let above = source.module.get(..source.module.len().checked_sub(supers)?)?;
            return Some([above, path.get(supers..)?].concat());
        }
        if first == "self" {
            return Some([&source.module, rest].concat());
        }
        // A child module, named from its parent.
        let child = [source.module.as_slice(), std::slice::from_ref(first)].concat();
        self.sources.iter().any(|other| other.module == child).then(|| [source.module.as_slice(), path].concat())
    }

    /// The module where the name at the end of `path` is at home.
    fn owner(&self, modules: &BTreeSet<Module>, path: &[String]) -> Module {
        let mut path = path.to_vec();
        // A name is passed on through a few modules at most; a bound for those that pass on each other's.
        for _ in 0..8 {
            let length = (0..=path.len()).rev().find(|length| modules.contains(&path[..*length])).unwrap_or_default();
            let module = path[..length].to_vec();
            let passed_on = path.get(length).and_then(|name| {
                let source = self.sources.iter().find(|source| source.module == module)?;
                self.absolute(source, source.imports.get(name)?)
            });
            match passed_on {
                Some(further) if further != path => path = [further, path[length + 1..].to_vec()].concat(),
                _ => return module,
            }
        }
        path
    }
}

/// `src/net/mod.rs` is `net`, `src/lib.rs` the root; `src/main.rs` is a module of its own, since it names the library.
fn module(name: &str) -> Module {
    let name = name.trim_start_matches("src/").trim_end_matches(".rs");
    let name = name.trim_end_matches("/mod");
    if name == "lib" { Vec::new() } else { name.split('/').map(str::to_owned).collect() }
}

#[derive(Default)]
struct Uses {
    functions: Vec<Function>,
    paths: Vec<Vec<String>>,
    imports: BTreeMap<String, Vec<String>>,
}

impl Uses {
    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
            UseTree::Glob(_) => self.paths.push(before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => self.import(before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => self.import(Some(name.ident.to_string()), with(name.ident.to_string())),
            UseTree::Rename(rename) => self.import(Some(rename.rename.to_string()), with(rename.ident.to_string())),
        }
    }

    fn import(&mut self, name: Option<String>, path: Vec<String>) {
        self.paths.push(path.clone());
        self.imports.extend(name.map(|name| (name, path)));
    }

    fn function(&mut self, name: String, signature: proc_macro2::Span, block: proc_macro2::Span) {
        self.functions.push(Function { name, lines: block.end().line + 1 - signature.start().line });
    }

    /// The paths among the tokens of a macro's call.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    self.tokens(group.stream());
                }
                TokenTree::Literal(_) | TokenTree::Punct(_) => self.end(&mut path),
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.paths.push(path.clone());
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !attributes(item).iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        let span = function.block.brace_token.span.join();
        self.function(function.sig.ident.to_string(), function.sig.fn_token.span, span);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        let span = function.block.brace_token.span.join();
        self.function(function.sig.ident.to_string(), function.sig.fn_token.span, span);
        visit::visit_impl_item_fn(self, function);
    }
}

fn is_test(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(_) => false,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, whose other variants stand in no source here")]
fn attributes(item: &syn::Item) -> &[Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads the sources it checks")]
pub(super) fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a source file is text")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("a source folder's entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn every_form_of_a_path_is_seen() {
    let text = "use crate::{a::b, c::d as e, f::{self, g::*}};\nfn h() { crate::i::j(super::k::L); m!(x, crate::n::o); }\n\
                #[cfg(test)]\nmod tests { use crate::z; }\n";
    let mut uses = Uses::default();
    uses.visit_file(&syn::parse_file(text).expect("this is Rust"));
    let paths: Vec<String> = uses.paths.iter().map(|path| path.join("::")).collect();
    let expected =
        ["crate::a::b", "crate::c::d", "crate::f", "crate::f::g", "crate::i::j", "super::k::L", "crate::n::o"];
    assert_eq!(paths, expected);
}
