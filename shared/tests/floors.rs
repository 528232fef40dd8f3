//! Checks the floors of ARCHITECTURE.md: a module imports only from the floors below its own, and there are no import cycles between files.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, ImplItemFn, Item, ItemFn, ItemMod, UseTree,
    visit::{self, Visit},
};

/// The list of floors of a crate in ARCHITECTURE.md, lowest first, with the modules of each floor.
fn floors(of: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let list = page
        .split(&format!("```floors {of}\n"))
        .nth(1)
        .unwrap_or_else(|| panic!("no floors of {of}"));
    let lines = list.split("```").next().unwrap().lines();
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A module's path from the crate's root.
type Module = Vec<String>;

/// The modules of a crate with their imports.
fn imports(source: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut files = Vec::new();
    collect(source, &mut files);
    let paths: BTreeSet<Module> = files.iter().map(|file| module_of(source, file)).collect();
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let mut found = Imports {
            module: module_of(source, file),
            paths: Vec::new(),
        };
        found.visit_file(&syn::parse_file(&text).unwrap());
        let known = |path: Module| {
            // The longest prefix of the path that is a module.
            (1..=path.len())
                .rev()
                .map(|length| path[..length].to_vec())
                .find(|path| paths.contains(path))
        };
        let own = found.module;
        let others = found.paths.into_iter().filter_map(known).filter(|other| *other != own);
        (own.clone(), others.collect())
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            collect(&path, files);
        } else if name.ends_with(".rs") && !["lib.rs", "main.rs", "tests.rs"].contains(&name) {
            files.push(path);
        }
    }
}

fn module_of(source: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(source).unwrap().with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// The paths into the crate that a file imports outside its tests.
struct Imports {
    module: Module,
    paths: Vec<Module>,
}

impl Imports {
    fn add(&mut self, path: &[String]) {
        let mut base = self.module.clone();
        let mut rest = path;
        match rest.first().map(String::as_str) {
            Some("crate") => {
                base.clear();
                rest = &rest[1..];
            }
            Some("self") => rest = &rest[1..],
            Some("super") => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            _ => return,
        }
        base.extend_from_slice(rest);
        self.paths.push(base);
    }

    fn add_tree(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.add_tree(&part.tree, path);
                path.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, path)),
            UseTree::Name(name) => self.add(&[path.as_slice(), &[name.ident.to_string()]].concat()),
            UseTree::Rename(name) => self.add(&[path.as_slice(), &[name.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.add(path),
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let names_test = |attribute: &Attribute| attribute.path().is_ident("test") || attribute.path().is_ident("cfg");
    attributes.iter().any(|attribute| {
        let text = attribute.meta.require_list().map(|list| list.tokens.to_string());
        names_test(attribute) && text.is_ok_and(|tokens| tokens == "test")
    })
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Use(item) => {
                // Re-exports of a folder's own files are not imports.
                let mut path = Vec::new();
                self.add_tree(&item.tree, &mut path);
            }
            item => visit::visit_item(self, item),
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.add(&parts);
        visit::visit_path(self, path);
    }
}

fn upward(floors: &[Vec<String>], imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let floor_of = |module: &str| {
        floors
            .iter()
            .position(|floor| floor.iter().any(|known| known == module))
    };
    let mut found = Vec::new();
    for (module, others) in imports {
        let Some(floor) = floor_of(&module[0]) else {
            found.push(format!("{} is on no floor", module[0]));
            continue;
        };
        for other in others.iter().filter(|other| other[0] != module[0]) {
            if floor_of(&other[0]).is_none_or(|below| below >= floor) {
                found.push(format!("{} imports {}", module.join("::"), other.join("::")));
            }
        }
    }
    found
}

/// Files that import from the `mod.rs` of their own folder, which re-exports the file's own items.
fn from_own_folder(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let parent = |module: &Module| module[..module.len() - 1].to_vec();
    let names = |module: &&Module| imports[*module].contains(&parent(module));
    let found = imports.keys().filter(|module| module.len() > 1).filter(names);
    found.map(|module| module.join("::")).collect()
}

/// The import cycles between files.
fn cycles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for start in imports.keys() {
        let mut ways = vec![vec![start.clone()]];
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop() {
            let last = way.last().unwrap();
            for next in &imports[last] {
                // From outside, a folder and its files count as one module.
                if next == start {
                    let names: Vec<String> = way.iter().map(|module| module.join("::")).collect();
                    found.insert(names.join(" -> "));
                } else if seen.insert(next.clone()) {
                    ways.push([way.clone(), vec![next.clone()]].concat());
                }
            }
        }
    }
    found.into_iter().collect()
}

#[test]
fn imports_of_shared_and_local_go_downwards_without_cycles() {
    for krate in ["shared", "local"] {
        let imports = imports(&root().join(krate).join("src"));
        assert!(imports.len() > 10, "{krate} is read");
        assert_eq!(
            upward(&floors(krate), &imports),
            Vec::<String>::new(),
            "upward imports of {krate}"
        );
        assert_eq!(
            from_own_folder(&imports),
            Vec::<String>::new(),
            "{krate}: name the file, not its folder"
        );
        assert_eq!(cycles(&imports), Vec::<String>::new(), "import cycles of {krate}");
    }
}

#[test]
fn an_upward_import_and_a_cycle_are_detected() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let imports = |pairs: &[(&str, &str)]| {
        let mut imports: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (from, to) in pairs {
            imports.entry(module(from)).or_default().insert(module(to));
            imports.entry(module(to)).or_default();
        }
        imports
    };
    let floors = [vec!["low".to_owned()], vec!["high".to_owned(), "beside".to_owned()]];
    assert!(upward(&floors, &imports(&[("high::a", "low::b")])).is_empty());
    assert_eq!(
        upward(&floors, &imports(&[("low::b", "high::a")])),
        ["low::b imports high::a"]
    );
    assert_eq!(
        upward(&floors, &imports(&[("high", "beside")])),
        ["high imports beside"]
    );
    assert_eq!(upward(&floors, &imports(&[("other", "low")])), ["other is on no floor"]);
    assert!(cycles(&imports(&[("low::a", "low::b"), ("low::b", "low::c")])).is_empty());
    assert_eq!(
        cycles(&imports(&[
            ("low::a", "low::b"),
            ("low::b", "low::c"),
            ("low::c", "low::a")
        ]))
        .len(),
        3
    );
}
