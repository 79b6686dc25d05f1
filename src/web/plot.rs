//! Plots as SVG, drawn here and put into a page as they are. Colours are names of the page's own, so that a plot follows
//! light and dark; what stands in it is also in the table beside it, and in one sentence for whoever does not see it.
//! Pure: whoever asks brings the numbers.

use plotters::chart::MeshStyle;
use plotters::coord::ranged1d::{SegmentValue, ValueFormatter};
use plotters::prelude::*;

use super::html::escape;
use crate::chat::plain::{cut, one_line};

/// A plot's size in its own units; the page stretches it.
const WIDTH: u32 = 720;
const HEIGHT: u32 = 230;
/// A row of a plot of bars that lie.
const ROW: u32 = 22;
/// Most labels along an axis, and the longest.
const LABELS_MAX: usize = 8;
const LABEL_CHARS_MAX: usize = 14;

/// What is drawn in a colour of the page. The drawing names each by a colour that nothing else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Quiet,
    Line,
    Good,
    Bad,
    Busy,
    Held,
    Warn,
    Link,
}

const PAINTS: [(Paint, &str); 8] = [
    (Paint::Quiet, "quiet"),
    (Paint::Line, "line"),
    (Paint::Good, "good"),
    (Paint::Bad, "bad"),
    (Paint::Busy, "busy"),
    (Paint::Held, "held"),
    (Paint::Warn, "warn"),
    (Paint::Link, "link"),
];

impl Paint {
    /// The page's name for it.
    pub(super) fn name(self) -> &'static str {
        PAINTS[self as usize].1
    }

    fn color(self) -> RGBColor {
        RGBColor(0, 0, self as u8 + 1)
    }
}

/// What goes on from left to right: a label for each place.
pub(super) struct Points<'a> {
    /// The sentence that says what is seen.
    pub(super) said: &'a str,
    /// What stands under each place.
    pub(super) labels: &'a [String],
    /// The top of the scale, and how a number on it is written.
    pub(super) top: f64,
    pub(super) unit: &'a dyn Fn(f64) -> String,
}

/// A line through one number for each place that has one; `paint` says what each dot is painted in.
pub(super) fn line(points: &Points<'_>, values: &[Option<(f64, Paint)>]) -> String {
    draw(points.said, HEIGHT, |area| {
        let mut chart = on_a_mesh(points, area)?;
        let at = |(i, value): (usize, &Option<(f64, Paint)>)| {
            value.map(|(value, paint)| ((SegmentValue::CenterOf(place(i)), value), paint))
        };
        let drawn: Vec<_> = values.iter().enumerate().filter_map(at).collect();
        let through = drawn.iter().map(|(at, _)| at.clone());
        chart.draw_series(LineSeries::new(through, Paint::Quiet.color().stroke_width(1)))?;
        chart.draw_series(drawn.into_iter().map(|(at, paint)| Circle::new(at, 4, paint.color().filled())))?;
        Ok(())
    })
}

/// A bar of parts, one on the other, for each place.
pub(super) fn stacks(points: &Points<'_>, bars: &[Vec<(f64, Paint)>]) -> String {
    draw(points.said, HEIGHT, |area| {
        let mut chart = on_a_mesh(points, area)?;
        let mut parts = Vec::new();
        for (i, bar) in bars.iter().enumerate() {
            let mut from = 0.0;
            for (height, paint) in bar {
                let corners = [
                    (SegmentValue::Exact(place(i)), from),
                    (SegmentValue::Exact(place(i + 1)), from + height),
                ];
                let mut part = Rectangle::new(corners, paint.color().filled());
                part.set_margin(0, 0, 2, 2);
                parts.push(part);
                from += height;
            }
        }
        chart.draw_series(parts)?;
        Ok(())
    })
}

/// Bars that lie, one for each name, the first on top: shares of a whole, from 0 to 1.
pub(super) fn shares(said: &str, rows: &[(String, f64)]) -> String {
    let height = ROW * u32::try_from(rows.len()).unwrap_or(u32::MAX / ROW).max(1) + 34;
    let rows: Vec<&(String, f64)> = rows.iter().rev().collect();
    draw(said, height, |area| {
        let places = (0..place(rows.len().saturating_sub(1))).into_segmented();
        let mut chart = ChartBuilder::on(area)
            .margin_right(24)
            .margin_top(4)
            .x_label_area_size(26)
            .y_label_area_size(120)
            .build_cartesian_2d(0.0..1.0, places)?;
        let name = |at: &SegmentValue<i32>| label(at, |i| rows.get(i).map(|(name, _)| name.as_str()));
        let share = |share: &f64| percent(*share);
        let mut mesh = chart.configure_mesh();
        styled(&mut mesh);
        mesh.disable_y_mesh().x_labels(6).x_label_formatter(&share);
        mesh.y_labels(rows.len()).y_label_formatter(&name).draw()?;
        let bars = rows.iter().enumerate().map(|(i, (_, share))| {
            let corners = [(0.0, SegmentValue::Exact(place(i))), (*share, SegmentValue::Exact(place(i + 1)))];
            let mut bar = Rectangle::new(corners, Paint::Link.color().filled());
            bar.set_margin(3, 3, 0, 0);
            bar
        });
        chart.draw_series(bars)?;
        Ok(())
    })
}

/// A share as people write it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn place(i: usize) -> i32 {
    i32::try_from(i).unwrap_or(i32::MAX)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Places = plotters::coord::ranged1d::SegmentedCoord<plotters::coord::types::RangedCoordi32>;
type Numbers = plotters::coord::types::RangedCoordf64;
type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Places from left to right, numbers upwards, and what is written beside them.
fn on_a_mesh<'a, 'b>(
    points: &Points<'_>,
    area: &'a Area<'b>,
) -> Result<Chart<'a, 'b, Places, Numbers>, Box<dyn std::error::Error>> {
    let places = (0..place(points.labels.len().saturating_sub(1))).into_segmented();
    let mut chart = ChartBuilder::on(area)
        .margin_right(12)
        .margin_top(10)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(places, 0.0..points.top)?;
    let name = |at: &SegmentValue<i32>| label(at, |i| points.labels.get(i).map(String::as_str));
    let number = |value: &f64| (points.unit)(*value);
    let mut mesh = chart.configure_mesh();
    styled(&mut mesh);
    mesh.disable_x_mesh().x_labels(points.labels.len().min(LABELS_MAX)).x_label_formatter(&name);
    mesh.y_labels(5).y_label_formatter(&number).draw()?;
    Ok(chart)
}

fn label<'a>(at: &SegmentValue<i32>, name: impl Fn(usize) -> Option<&'a str>) -> String {
    let SegmentValue::CenterOf(i) = at else { return String::new() };
    let name = usize::try_from(*i).ok().and_then(name).unwrap_or_default();
    cut(&one_line(name), LABEL_CHARS_MAX)
}

fn styled<X, Y, XV, YV>(mesh: &mut MeshStyle<'_, '_, X, Y, SVGBackend<'_>>)
where
    X: Ranged<ValueType = XV> + ValueFormatter<XV>,
    Y: Ranged<ValueType = YV> + ValueFormatter<YV>,
{
    let text = ("sans-serif", 13).into_font().color(&Paint::Quiet.color());
    mesh.axis_style(Paint::Line.color()).bold_line_style(Paint::Line.color()).light_line_style(TRANSPARENT);
    mesh.label_style(text).set_all_tick_mark_size(3);
}

/// The drawing, as the page takes it.
fn draw(said: &str, height: u32, plot: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let drawn = plot(&area).and_then(|()| area.present().map_err(Into::into));
        if let Err(error) = drawn {
            // The table beside it has everything.
            tracing::error!(%error, "a plot cannot be drawn");
            return String::new();
        }
    }
    for (paint, name) in PAINTS {
        let RGBColor(r, g, b) = paint.color();
        svg = svg.replace(&format!("\"#{r:02X}{g:02X}{b:02X}\""), &format!("\"var(--{name})\""));
    }
    let inner =
        svg.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>")).map_or("", |(inner, _)| inner);
    let said = escape(said);
    format!("<svg role=\"img\" aria-label=\"{said}\" viewBox=\"0 0 {WIDTH} {height}\">{inner}</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: f64) -> String {
        format!("{value:.0} s")
    }

    #[test]
    fn every_paint_has_a_colour_of_its_own_and_none_is_left() {
        for (i, (paint, name)) in PAINTS.into_iter().enumerate() {
            assert_eq!(paint as usize, i, "{name}");
        }
        let labels: Vec<String> = (0..60).map(|n| format!("build-{n}")).collect();
        let points = Points { said: "s", labels: &labels, top: 9.0, unit: &seconds };
        let bars: Vec<_> =
            (0..60).map(|_| PAINTS.iter().map(|(paint, _)| (1.0, *paint)).collect::<Vec<_>>()).collect();
        let svg = stacks(&points, &bars);
        for (_, name) in PAINTS {
            assert!(svg.contains(&format!("fill=\"var(--{name})\"")), "{name}: {svg}");
        }
        // What is not painted is not seen either.
        let foreign = regex::Regex::new("<[^>]*\"#[0-9A-F]{6}\"[^>]*>").expect("a pattern");
        let foreign = foreign.find_iter(&svg).filter(|tag| !tag.as_str().contains("opacity=\"0\""));
        assert_eq!(foreign.map(|tag| tag.as_str()).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn hostile_names_stay_text_and_long_ones_are_cut() {
        let evil = "<script>\u{1b}\u{202e}\"#000001\" & \n".to_owned() + &"x".repeat(500);
        let labels = vec![evil.clone(), "b".into()];
        let points = Points { said: &evil, labels: &labels, top: 1.0, unit: &percent };
        let drawn = [
            line(&points, &[Some((0.5, Paint::Good)), None]),
            stacks(&points, &[vec![(1.0, Paint::Busy)], vec![]]),
            shares(&evil, &[(evil.clone(), 0.3)]),
        ];
        for svg in drawn {
            assert!(
                !svg.contains("<script") && !svg.contains('\u{1b}') && !svg.contains('\u{202e}'),
                "{svg}"
            );
            assert_eq!(svg.matches("<svg").count(), 1, "{svg}");
            assert!(svg.contains("&lt;script"), "{svg}");
            let label = svg.find("<text").expect("labels");
            assert!(!svg[label..].contains(&"x".repeat(LABEL_CHARS_MAX)), "{svg}");
        }
    }

    #[test]
    fn nothing_is_drawn_as_nothing() {
        let points = Points { said: "none", labels: &[], top: 1.0, unit: &percent };
        assert!(line(&points, &[]).contains("role=\"img\""));
        assert!(stacks(&points, &[]).contains("role=\"img\""));
        assert!(shares("none", &[]).contains("role=\"img\""));
    }
}
