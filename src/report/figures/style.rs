//! One visual language: the Okabe–Ito palette (distinguishable with colour-vision deficiencies), always with a marker, a dash or a
//! pattern beside the colour.

use super::svg::Marker;

/// How one series of a plot looks.
#[derive(Clone, Copy, Debug)]
pub struct SeriesStyle {
    /// Colour class, such as `blue`.
    pub colour: &'static str,
    /// Dash class of its line.
    pub dash: &'static str,
    /// Shape of its points.
    pub marker: Marker,
    /// Pattern of its areas.
    pub pattern: &'static str,
}

const fn series(
    colour: &'static str,
    dash: &'static str,
    marker: Marker,
    pattern: &'static str,
) -> SeriesStyle {
    SeriesStyle {
        colour,
        dash,
        marker,
        pattern,
    }
}

/// Flips, or the first outcome class.
pub const FLIPPED: SeriesStyle = series("blue", "d0", Marker::Circle, "solid-blue");
/// Collapses.
pub const COLLAPSED: SeriesStyle = series("vermilion", "d1", Marker::Square, "hatch");
/// What no class claims.
pub const OTHER: SeriesStyle = series("grey", "d5", Marker::Cross, "solid-grey");
/// The outcome classes of a typed behaviour, and the predictors.
pub const CLASSES: [SeriesStyle; 5] = [
    series("purple", "d2", Marker::Triangle, "dots-purple"),
    series("green", "d3", Marker::Diamond, "solid-green"),
    series("orange", "d4", Marker::Wedge, "bars-orange"),
    series("sky", "d2", Marker::Triangle, "dots-sky"),
    series("blue", "d3", Marker::Circle, "solid-blue"),
];

/// What is known of windows: open, undecided, closed by collapse, by lateness, by a norm, censored.
pub const WINDOWS: [SeriesStyle; 6] = [
    series("green", "d0", Marker::Circle, "solid-green"),
    series("green", "d2", Marker::Circle, "dots-green"),
    COLLAPSED,
    series("orange", "d4", Marker::Wedge, "bars-orange"),
    series("purple", "d2", Marker::Triangle, "dots-purple"),
    OTHER,
];
/// Groups of neurons beside each other: held-out ones first, then controls.
pub const GROUPS: [SeriesStyle; 6] = [
    series("blue", "d0", Marker::Circle, "solid-blue"),
    series("vermilion", "d1", Marker::Square, "hatch"),
    series("grey", "d2", Marker::Cross, "solid-grey"),
    series("purple", "d3", Marker::Triangle, "dots-purple"),
    series("green", "d4", Marker::Diamond, "solid-green"),
    series("orange", "d5", Marker::Wedge, "bars-orange"),
];

/// How outcome number `place` looks among `classes` classes; then come `other` and `collapse`.
pub fn outcome(place: usize, classes: usize) -> SeriesStyle {
    match place.checked_sub(classes) {
        None if classes == 1 => FLIPPED,
        None => CLASSES[place % CLASSES.len()],
        Some(0) => OTHER,
        Some(_) => COLLAPSED,
    }
}

/// Colours of the marks: name, in figures for files and light pages, on dark pages.
pub const COLOURS: [(&str, &str, &str); 12] = [
    ("ink", "#1b1f24", "#e8e6e1"),
    ("muted", "#57606a", "#a9b1ba"),
    ("rule", "#dfe3e8", "#363c45"),
    ("paper", "#ffffff", "#15181d"),
    ("band", "#d7efe6", "#12372c"),
    ("blue", "#0072b2", "#56b4e9"),
    ("vermilion", "#d55e00", "#f08446"),
    ("green", "#00805c", "#2fc79b"),
    ("purple", "#a8517f", "#e39cc4"),
    ("orange", "#b27700", "#f0b63c"),
    ("sky", "#2b87bd", "#8fd0f5"),
    ("grey", "#6b7480", "#99a2ad"),
];

/// Rules of every figure; `{name}` stands for a colour.
const RULES: &str = "\
.fig text{font:11.5px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:{ink};font-variant-numeric:tabular-nums}
.fig .tick,.fig .small{font-size:10.5px;fill:{muted}}
.fig .label{fill:{muted}}
.fig .head{font-size:13px;font-weight:650}
.fig .strong{font-weight:650}
.fig .mid{text-anchor:middle}
.fig .end{text-anchor:end}
.fig .grid{stroke:{rule};stroke-width:1}
.fig .axis{stroke:{muted};stroke-width:1}
.fig .guide{stroke:{muted};stroke-width:1;stroke-dasharray:2 3;fill:none}
.fig .law{stroke:{ink};stroke-width:1.75;fill:none}
.fig .band{fill:{band};stroke:none}
.fig .zone{fill:{rule};fill-opacity:.55;stroke:none}
.fig .undecided{fill:none;stroke:{green};stroke-width:1.5;stroke-dasharray:2.5 2}
.fig .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.fig .d1{stroke-dasharray:7 4}
.fig .d2{stroke-dasharray:2 4}
.fig .d3{stroke-dasharray:9 3 2 3}
.fig .d4{stroke-dasharray:4 3}
.fig .d5{stroke-dasharray:1 5}
.fig .dot{stroke-width:1.5}
.fig .hollow{fill:{paper};stroke-width:1.5}
.fig .faint{fill-opacity:.35;stroke:none}
.fig .tickmark{stroke-width:2.5;fill:none}
.fig .edge{stroke-width:1.25;fill:none}
.fig .cut{stroke:{paper};stroke-width:1}
";

const STROKED_AND_FILLED: [&str; 8] = [
    "ink",
    "blue",
    "vermilion",
    "green",
    "purple",
    "orange",
    "sky",
    "grey",
];

/// Style sheet for figures inside a page, where colours are the variables `--fig-NAME` of [`page_variables`].
pub fn page_rules() -> String {
    rules(|name| format!("var(--fig-{name})"))
}

/// The page's colour variables: `dark` or light.
pub fn page_variables(dark: bool) -> String {
    (COLOURS.iter())
        .map(|(name, light, night)| format!("--fig-{name}:{};", if dark { night } else { light }))
        .collect()
}

/// Style sheet for a figure in a file of its own.
pub fn file_rules() -> String {
    rules(|name| {
        let found = COLOURS.iter().find(|(n, ..)| *n == name);
        found.map_or("#000000", |(_, light, _)| light).to_owned()
    })
}

fn rules(colour: impl Fn(&str) -> String) -> String {
    let mut css = RULES.to_owned();
    for name in STROKED_AND_FILLED {
        css += &format!(".fig .s-{name}{{stroke:{{{name}}}}}\n.fig .f-{name}{{fill:{{{name}}}}}\n");
    }
    // Open marks keep the paper's colour inside, whatever fill class stands beside.
    css += ".fig .hollow{fill:{paper}}\n";
    for (name, ..) in COLOURS {
        css = css.replace(&format!("{{{name}}}"), &colour(name));
    }
    css
}

/// The fill patterns, with identifiers that are unique to a figure.
pub fn patterns(figure: &str) -> String {
    let open = |name: &str, size: usize, rotate: usize| {
        format!(
            r#"<pattern id="{figure}-{name}" patternUnits="userSpaceOnUse" width="{size}" height="{size}" patternTransform="rotate({rotate})">"#
        )
    };
    let ground = |size: usize, colour: &str, opacity: &str| {
        format!(
            r#"<rect class="f-{colour}" fill-opacity="{opacity}" width="{size}" height="{size}"/>"#
        )
    };
    let mut defs = String::from("<defs>\n");
    for colour in ["blue", "green", "grey"] {
        defs += &format!(
            "{}{}</pattern>\n",
            open(&format!("solid-{colour}"), 8, 0),
            ground(8, colour, ".8")
        );
    }
    defs += &format!(
        "{}{}<line class=\"s-vermilion\" stroke-width=\"2\" x1=\"1\" y1=\"0\" x2=\"1\" y2=\"5\"/></pattern>\n",
        open("hatch", 5, 45),
        ground(5, "vermilion", ".18")
    );
    for colour in ["purple", "sky", "green"] {
        defs += &format!(
            "{}{}<circle class=\"f-{colour}\" cx=\"3\" cy=\"3\" r=\"1.5\"/></pattern>\n",
            open(&format!("dots-{colour}"), 6, 0),
            ground(6, colour, ".25")
        );
    }
    defs += &format!(
        "{}{}<line class=\"s-orange\" stroke-width=\"2\" x1=\"0\" y1=\"1\" x2=\"6\" y2=\"1\"/></pattern>\n",
        open("bars-orange", 6, 0),
        ground(6, "orange", ".25")
    );
    defs + "</defs>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_of_the_rules_is_known() {
        for css in [page_rules(), file_rules()] {
            for (name, ..) in COLOURS {
                assert!(!css.contains(&format!("{{{name}}}")), "{name}");
            }
        }
        assert!(!file_rules().contains("var("));
    }
}
