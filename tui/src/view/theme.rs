//! Colours by role. A role also has a look without colour, so that nothing is told by colour alone.

use ratatui::style::{Color, Modifier, Style};

use crate::look::{Colors, ThemeName};

/// The colours of the roles.
#[derive(Clone, Copy, Debug)]
struct Palette {
    text: Color,
    dim: Color,
    faint: Color,
    accent: Color,
    name: Color,
    good: Color,
    warn: Color,
    bad: Color,
    select: Color,
    bar: Color,
    heat: [Color; 4],
}

const fn rgb(hex: u32) -> Color {
    Color::Rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

const DARK: Palette = Palette {
    text: rgb(0x00d3_d9e3),
    dim: rgb(0x008b_95a7),
    faint: rgb(0x0046_5064),
    accent: rgb(0x005f_c9f3),
    name: rgb(0x00e8_edf5),
    good: rgb(0x007b_d88f),
    warn: rgb(0x00f0_c674),
    bad: rgb(0x00ff_6c6b),
    select: rgb(0x002b_3a52),
    bar: rgb(0x001b_2230),
    heat: [rgb(0x003f_8fb5), rgb(0x0055_b8a5), rgb(0x00d7_b65d), rgb(0x00ff_8f5e)],
};

const LIGHT: Palette = Palette {
    text: rgb(0x0025_2b37),
    dim: rgb(0x0063_6c7c),
    faint: rgb(0x00b4_bcc9),
    accent: rgb(0x0000_5fb8),
    name: rgb(0x0010_1521),
    good: rgb(0x0018_7a35),
    warn: rgb(0x008f_5f00),
    bad: rgb(0x00c4_1a1a),
    select: rgb(0x00cf_e3fa),
    bar: rgb(0x00e9_edf3),
    heat: [rgb(0x0058_9bc4), rgb(0x0023_8f7c), rgb(0x00a8_7a00), rgb(0x00cc_4f15)],
};

const HIGH_CONTRAST: Palette = Palette {
    text: rgb(0x00ff_ffff),
    dim: rgb(0x00d0_d0d0),
    faint: rgb(0x0090_9090),
    accent: rgb(0x0000_ffff),
    name: rgb(0x00ff_ffff),
    good: rgb(0x0000_ff5f),
    warn: rgb(0x00ff_ff00),
    bad: rgb(0x00ff_5555),
    select: rgb(0x0000_4fb0),
    bar: rgb(0x0026_2626),
    heat: [rgb(0x0000_d7ff), rgb(0x0000_ff87), rgb(0x00ff_ff00), rgb(0x00ff_8700)],
};

const CATPPUCCIN: Palette = Palette {
    text: rgb(0x00cd_d6f4),
    dim: rgb(0x0093_99b2),
    faint: rgb(0x0058_5b70),
    accent: rgb(0x0089_b4fa),
    name: rgb(0x00f5_e0dc),
    good: rgb(0x00a6_e3a1),
    warn: rgb(0x00f9_e2af),
    bad: rgb(0x00f3_8ba8),
    select: rgb(0x0045_475a),
    bar: rgb(0x0031_3244),
    heat: [rgb(0x0074_c7ec), rgb(0x0094_e2d5), rgb(0x00f9_e2af), rgb(0x00fa_b387)],
};

const TERMINAL: Palette = Palette {
    text: Color::Reset,
    dim: Color::Reset,
    faint: Color::DarkGray,
    accent: Color::Cyan,
    name: Color::Reset,
    good: Color::Green,
    warn: Color::Yellow,
    bad: Color::Red,
    select: Color::Reset,
    bar: Color::Reset,
    heat: [Color::Blue, Color::Cyan, Color::Yellow, Color::Red],
};

/// Sixteen colours on a light ground, where most terminals' yellow and cyan cannot be read.
const SIXTEEN_LIGHT: Palette = Palette {
    accent: Color::Blue,
    faint: Color::Gray,
    warn: Color::Magenta,
    heat: [Color::Blue, Color::Green, Color::Magenta, Color::Red],
    ..TERMINAL
};

/// Sixteen colours on black, none of them faint.
const SIXTEEN_CONTRAST: Palette = Palette {
    text: Color::White,
    dim: Color::Gray,
    faint: Color::Gray,
    accent: Color::LightCyan,
    name: Color::White,
    good: Color::LightGreen,
    warn: Color::LightYellow,
    bad: Color::LightRed,
    heat: [Color::LightCyan, Color::LightGreen, Color::LightYellow, Color::LightRed],
    ..TERMINAL
};

const PLAIN: Palette = Palette {
    text: Color::Reset,
    dim: Color::Reset,
    faint: Color::Reset,
    accent: Color::Reset,
    name: Color::Reset,
    good: Color::Reset,
    warn: Color::Reset,
    bad: Color::Reset,
    select: Color::Reset,
    bar: Color::Reset,
    heat: [Color::Reset; 4],
};

/// Styles by role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    palette: Palette,
    colors: Colors,
}

impl Theme {
    /// A theme for a terminal with so many colours.
    #[must_use]
    pub(super) fn new(name: ThemeName, colors: Colors) -> Self {
        let palette = match (colors, name) {
            (Colors::None, _) => PLAIN,
            (Colors::Sixteen, ThemeName::Light) => SIXTEEN_LIGHT,
            (Colors::Sixteen, ThemeName::HighContrast) => SIXTEEN_CONTRAST,
            (Colors::Sixteen, _) | (_, ThemeName::Terminal) => TERMINAL,
            (_, ThemeName::Dark) => DARK,
            (_, ThemeName::Light) => LIGHT,
            (_, ThemeName::HighContrast) => HIGH_CONTRAST,
            (_, ThemeName::Catppuccin) => CATPPUCCIN,
        };
        Self { palette, colors }
    }

    fn color(&self, color: Color) -> Color {
        match (self.colors, color) {
            (Colors::Indexed, Color::Rgb(r, g, b)) => Color::Indexed(indexed(r, g, b)),
            _ => color,
        }
    }

    fn fg(&self, color: Color) -> Style {
        Style::new().fg(self.color(color))
    }

    /// Ordinary text.
    #[must_use]
    pub(super) fn text(&self) -> Style {
        self.fg(self.palette.text)
    }

    /// Less important text.
    #[must_use]
    pub(super) fn dim(&self) -> Style {
        let style = self.fg(self.palette.dim);
        if self.palette.dim == Color::Reset { style.add_modifier(Modifier::DIM) } else { style }
    }

    /// Lines and separators.
    #[must_use]
    pub(super) fn faint(&self) -> Style {
        let style = self.fg(self.palette.faint);
        if self.palette.faint == Color::Reset { style.add_modifier(Modifier::DIM) } else { style }
    }

    /// What has the keys, what can be pressed.
    #[must_use]
    pub(super) fn accent(&self) -> Style {
        self.fg(self.palette.accent).add_modifier(Modifier::BOLD)
    }

    /// Names: of processes, of files.
    #[must_use]
    pub(super) fn name(&self) -> Style {
        self.fg(self.palette.name)
    }

    /// All is well.
    #[must_use]
    pub(super) fn good(&self) -> Style {
        self.fg(self.palette.good)
    }

    /// Worth a look.
    #[must_use]
    pub(super) fn warn(&self) -> Style {
        self.fg(self.palette.warn)
    }

    /// Wrong.
    #[must_use]
    pub(super) fn bad(&self) -> Style {
        self.fg(self.palette.bad).add_modifier(if self.colors == Colors::None {
            Modifier::BOLD
        } else {
            Modifier::empty()
        })
    }

    /// Column heads.
    #[must_use]
    pub(super) fn head(&self) -> Style {
        self.dim().remove_modifier(Modifier::DIM).add_modifier(Modifier::BOLD)
    }

    /// The selected row, over what is written there. `focused` when its pane has the keys.
    #[must_use]
    pub(super) fn selected(&self, focused: bool) -> Style {
        if self.palette.select == Color::Reset {
            // Without a colour of its own the row is turned round; out of focus it is only underlined.
            // What is dim in it would be a hole in the bar.
            let bar = if focused { Modifier::REVERSED } else { Modifier::UNDERLINED };
            return Style::new().remove_modifier(Modifier::DIM).add_modifier(bar);
        }
        let color = if focused { self.palette.select } else { self.palette.bar };
        Style::new().bg(self.color(color)).add_modifier(if focused { Modifier::BOLD } else { Modifier::empty() })
    }

    /// The background of header and footer.
    #[must_use]
    pub(super) fn bar(&self) -> Style {
        Style::new().bg(self.color(self.palette.bar))
    }

    /// A bar of a sparkline: calm colours, as much is not wrong.
    #[must_use]
    pub(super) fn calm(&self, share: f64) -> Style {
        self.heat(share * 0.49)
    }

    /// A bar of a share 0 to 1: from cool to hot.
    #[must_use]
    pub(super) fn heat(&self, share: f64) -> Style {
        let step = (share.clamp(0.0, 1.0) * 3.99) as usize;
        self.fg(self.palette.heat.get(step).copied().unwrap_or(Color::Reset))
    }
}

/// The nearest of the 6×6×6 cube and the grey ramp of 256 colours.
fn indexed(r: u8, g: u8, b: u8) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let nearest = |v: u8| (0u8..).zip(STEPS).min_by_key(|(_, s)| s.abs_diff(v)).unwrap_or((0, 0));
    let distance =
        |x: [u8; 3]| -> u32 { x.into_iter().zip([r, g, b]).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
    let (cr, cg, cb) = (nearest(r), nearest(g), nearest(b));
    let cube = distance([cr.1, cg.1, cb.1]);
    let mean = (u16::from(r) + u16::from(g) + u16::from(b)) / 3;
    let grey = (u32::from(mean).saturating_sub(3) / 10).min(23) as u8;
    let level = 8 + 10 * grey;
    if distance([level; 3]) < cube { 232 + grey } else { 16 + 36 * cr.0 + 6 * cg.0 + cb.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_every_role_is_reset_and_the_selected_row_still_stands_out() {
        for name in ThemeName::ALL {
            let theme = Theme::new(name, Colors::None);
            let roles = [
                theme.text(),
                theme.dim(),
                theme.faint(),
                theme.accent(),
                theme.name(),
                theme.good(),
                theme.warn(),
                theme.bad(),
                theme.head(),
                theme.selected(true),
                theme.selected(false),
                theme.bar(),
                theme.heat(1.0),
            ];
            for role in roles {
                assert!(matches!(role.fg, None | Some(Color::Reset)) && matches!(role.bg, None | Some(Color::Reset)));
            }
            assert!(theme.selected(true).add_modifier.contains(Modifier::REVERSED));
        }
    }

    /// Contrast as WCAG 2 has it: from about 4.5 on it can be read.
    fn contrast(a: Color, b: Color) -> f64 {
        let luminance = |color| {
            let Color::Rgb(r, g, b) = color else { panic!("{color} is not ours") };
            let linear = |c: u8| {
                let c = f64::from(c) / 255.0;
                if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05
        };
        let (a, b) = (luminance(a), luminance(b));
        if a > b { a / b } else { b / a }
    }

    #[test]
    fn whatever_is_said_can_be_read_on_the_ground_of_its_theme() {
        let (black, white) = (rgb(0), rgb(0x00ff_ffff));
        let grounds = [(DARK, black), (LIGHT, white), (HIGH_CONTRAST, black), (CATPPUCCIN, rgb(0x001e_1e2e))];
        for (palette, ground) in grounds {
            for color in
                [palette.text, palette.dim, palette.accent, palette.name, palette.good, palette.warn, palette.bad]
            {
                for under in [ground, palette.bar] {
                    assert!(contrast(color, under) >= 4.4, "{color} on {under}: {}", contrast(color, under));
                }
            }
        }
    }

    #[test]
    fn of_sixteen_colours_none_is_used_that_its_ground_swallows() {
        let light = Theme::new(ThemeName::Light, Colors::Sixteen);
        for role in [light.accent(), light.warn(), light.bad(), light.good(), light.heat(0.6), light.heat(1.0)] {
            assert!(!matches!(role.fg, Some(Color::Yellow | Color::Cyan | Color::White | Color::Gray)), "{role:?}");
        }
        let contrast = Theme::new(ThemeName::HighContrast, Colors::Sixteen);
        for role in [contrast.text(), contrast.dim(), contrast.faint(), contrast.name()] {
            assert!(!role.add_modifier.contains(Modifier::DIM) && role.fg != Some(Color::DarkGray), "{role:?}");
        }
    }

    #[test]
    fn known_colours_find_their_index() {
        assert_eq!(indexed(255, 0, 0), 196);
        assert_eq!(indexed(0, 0, 0), 16);
        assert_eq!(indexed(128, 128, 128), 244);
    }
}
