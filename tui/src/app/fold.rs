//! Trees: the processes under their parents, the files in their directories; folding and unfolding.

use super::dirs::directories;
use super::focus::{Focus, Row, focus, row};
use super::{App, Pane, Tab, Tree};

/// Makes the list with the keys a tree, or a list again.
pub(super) fn toggle_tree(app: &mut App) {
    match (app.page.is_some(), app.tab) {
        (false, Tab::Live) => {
            app.processes.tree = match app.processes.tree {
                Some(_) => None,
                None => Some(Tree::default()),
            };
            app.processes.stale = true;
            app.pane = Pane::Processes;
        }
        (false, Tab::Files) => {
            app.file_tree = match app.file_tree {
                Some(_) => None,
                None => Some(Default::default()),
            };
            app.files.held = false;
            app.files.cursor = 0;
            app.tables_stale = true;
        }
        _ => app.notice = Some("there are trees in view 1, of processes, and in view 2, of files".into()),
    }
}

/// Folds or unfolds the selected row.
pub(super) fn toggle(app: &mut App) {
    match focus(app) {
        Focus::Processes if app.processes.tree.is_some() => {
            let Some(Row::Process(process)) = row(app) else { return };
            let key = process.key;
            let list = &mut app.processes;
            let Some(tree) = &mut list.tree else { return };
            if !tree.branches.get(list.cursor).is_some_and(|branch| branch.parent) {
                return;
            }
            if !tree.folded.remove(&key) {
                tree.folded.insert(key);
            }
            list.selected = Some(key);
            list.stale = true;
        }
        Focus::Files => {
            let Some(row) = app.files.rows.get(app.files.cursor) else { return };
            let (Some(node), Some(open)) = (row.node.filter(|node| node.dir), &mut app.file_tree) else { return };
            for dir in directories(&row.path).chain([&*row.path]) {
                if !node.open {
                    open.insert(dir.into());
                } else if dir.len() > node.name {
                    open.remove(dir);
                }
            }
            app.files.held = true;
            app.tables_stale = true;
        }
        _ => app.notice = Some("t makes a tree of this list; z folds its rows".into()),
    }
}

/// Folds everything, or unfolds everything where everything is folded.
pub(super) fn toggle_all(app: &mut App) {
    match focus(app) {
        Focus::Processes if app.processes.tree.is_some() => {
            let model = app.frozen.as_ref().map_or(&app.live, |f| &f.model);
            let list = &mut app.processes;
            let Some(tree) = &mut list.tree else { return };
            if tree.folded.is_empty() {
                let parents = tree.branches.iter().filter(|branch| branch.parent);
                tree.folded = parents.filter_map(|b| Some(model.processes.get(b.index)?.key)).collect();
            } else {
                tree.folded.clear();
            }
            (list.selected, list.stale) = (None, true);
        }
        Focus::Files if app.file_tree.is_some() => {
            let model = app.frozen.as_ref().map_or(&app.live, |f| &f.model);
            let Some(open) = &mut app.file_tree else { return };
            if open.is_empty() {
                let paths = model.files.table().iter().flat_map(|(path, _)| directories(path));
                *open = paths.map(Into::into).collect();
            } else {
                open.clear();
            }
            app.files.held = false;
            app.files.cursor = 0;
            app.tables_stale = true;
        }
        _ => toggle(app),
    }
}
