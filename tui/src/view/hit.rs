//! What is where on the screen: all that the state asks of the drawing, so that a click means what is seen there.

pub(crate) use super::columns::area as columns_area;
pub(crate) use super::failures::sort_at as failure_sort_at;
pub(crate) use super::files::{on_mark as on_file_mark, sort_at as file_sort_at};
pub(crate) use super::footer::action_at;
pub(crate) use super::menu::area as menu_area;
pub(crate) use super::processes::{column_at, on_mark as on_process_mark, sorts as process_sorts};
pub(crate) use super::scrub::bar as scrub_bar;
pub(crate) use super::tabs::places as tabs;
pub(crate) use super::texts::overflow as text_overflow;
