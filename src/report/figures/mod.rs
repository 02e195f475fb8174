//! The figures: one file per kind of plot, one visual language.
//!
//! A figure is drawn once. Inside the HTML page it takes its colours from the page (light or dark); as a file it brings its own
//! style and a white ground. Every figure has a title and a description for those who do not see it.

pub mod attribution;
pub mod bins;
pub mod ceilings;
pub mod controls;
pub mod dose_response;
pub mod layers;
pub mod legend;
pub mod outcomes;
pub mod saturation;
pub mod scale;
pub mod style;
pub mod svg;
pub mod windows;

use super::text::xml;

/// Least size of a figure in a page, as a share of its own.
const LEAST_SCALE: f64 = 0.88;

/// A drawn figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// File name without its ending; also the prefix of its identifiers. ASCII letters, digits and `-`.
    pub name: String,
    /// What it shows, in a few words.
    pub title: String,
    /// What can be seen in it, in a sentence or two.
    pub description: String,
    /// Width and height in pixels.
    pub size: (f64, f64),
    /// The marks.
    pub marks: svg::Svg,
}

impl Figure {
    /// The figure for the inside of an HTML page.
    pub fn inline(&self) -> String {
        // Below this width the smallest letters would be hard to read: the figure scrolls instead.
        let (least, most) = (LEAST_SCALE * self.size.0, self.size.0);
        let style = format!("min-width:{least:.0}px;max-width:{most:.0}px");
        self.element(&format!(r#" style="{style}""#), "")
    }

    /// The figure as a file of its own.
    pub fn standalone(&self) -> String {
        let (width, height) = self.size;
        let ground = format!(
            "<style>\n{}</style>\n<rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n",
            style::file_rules()
        );
        let size = format!(
            r#" xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}""#
        );
        self.element(&size, &ground)
    }

    fn element(&self, attributes: &str, ground: &str) -> String {
        let (width, height) = self.size;
        let Self {
            name,
            title,
            description,
            ..
        } = self;
        let (title, description) = (xml(title), xml(description));
        let marks = self.marks.clone().into_body();
        let patterns = style::patterns(name);
        let patterns = if marks.contains("url(#") {
            patterns.as_str()
        } else {
            ""
        };
        format!(
            r#"<svg{attributes} class="fig" viewBox="0 0 {width:.0} {height:.0}" role="img" aria-labelledby="{name}-title {name}-desc">
<title id="{name}-title">{title}</title>
<desc id="{name}-desc">{description}</desc>
{patterns}{ground}{marks}</svg>
"#
        )
    }
}

/// A name in the letters that are safe in file names, links and identifiers.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().take(60) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_safe() {
        assert_eq!(slug("Language routing (en→es)"), "language-routing-en-es");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("<>"), "");
    }

    #[test]
    fn titles_are_escaped() {
        let figure = Figure {
            name: "f".into(),
            title: "a<script>".into(),
            description: "]]>\u{202e}".into(),
            size: (10.0, 20.0),
            marks: svg::Svg::default(),
        };
        for text in [figure.inline(), figure.standalone()] {
            assert!(text.contains("a&lt;script&gt;") && text.contains("]]&gt;⟨U+202E⟩"));
        }
    }
}
