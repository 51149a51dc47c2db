//! Charts, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 420);

const PALETTE: [RGBColor; 6] = [
    RGBColor(0x9a, 0xa5, 0xb1),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x5f, 0x1e),
    RGBColor(0x2c, 0x8f, 0x4e),
    RGBColor(0x8a, 0x4f, 0xa8),
    RGBColor(0x7a, 0x5c, 0x3d),
];

/// A chart to draw.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// The file name without its extension.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// The unit of the vertical axis.
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A group of bars for each label, with one bar of each series.
    Bars { labels: Vec<String>, series: Vec<(String, Vec<Option<f64>>)>, logarithmic: bool },
    /// A line for each series.
    Lines { axis: &'static str, series: Vec<(String, Vec<(f64, f64)>)>, logarithmic: bool },
}

impl Chart {
    /// Draws the chart into `folder`.
    pub(crate) fn draw(&self, folder: &Path) -> Result<()> {
        let file = folder.join(format!("{}.svg", self.name));
        let area = SVGBackend::new(&file, SIZE).into_drawing_area();
        let drawn = match &self.kind {
            Kind::Bars { labels, series, logarithmic } => {
                self.bars(&area, labels, series, *logarithmic)
            }
            Kind::Lines { axis, series, logarithmic } => {
                self.lines(&area, axis, series, *logarithmic)
            }
        };
        drawn
            .and_then(|()| area.present().map_err(failed))
            .map_err(|error| anyhow!("drawing {}: {error}", file.display()))
    }

    fn bars(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        labels: &[String],
        series: &[(String, Vec<Option<f64>>)],
        logarithmic: bool,
    ) -> Result<()> {
        area.fill(&WHITE).map_err(failed)?;
        let scale =
            Scale::over(series.iter().flat_map(|(_, values)| values).flatten(), logarithmic);
        // The extra groups leave room for the legend.
        let groups = labels.len().max(1) + labels.len().div_ceil(6);
        let across = u32::try_from(groups).map_or(1.0, f64::from);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..across, scale.low..scale.high)
            .map_err(failed)?;
        let name_of = |place: &f64| {
            let nth =
                (0_u32..).zip(labels).find(|(nth, _)| (f64::from(*nth) + 0.5 - place).abs() < 0.01);
            nth.map_or_else(String::new, |(_, name)| name.clone())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(groups * 2 + 1)
            .x_label_formatter(&name_of)
            .y_label_formatter(&|place| scale.label(*place))
            .y_desc(self.unit)
            .draw()
            .map_err(failed)?;
        let width = 0.8 / u32::try_from(series.len()).map_or(1.0, f64::from).max(1.0);
        for (nth, (name, values)) in (0_u32..).zip(series) {
            let colour = colour(nth);
            let rectangles = (0_u32..).zip(values).filter_map(|(group, value)| {
                let left = f64::from(group) + 0.1 + f64::from(nth) * width;
                let corners = [(left, scale.low), (left + width, scale.place((*value)?))];
                Some(Rectangle::new(corners, colour.filled()))
            });
            chart.draw_series(rectangles).map_err(failed)?.label(name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled())
            });
        }
        legend(&mut chart)
    }

    fn lines(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        axis: &str,
        series: &[(String, Vec<(f64, f64)>)],
        logarithmic: bool,
    ) -> Result<()> {
        area.fill(&WHITE).map_err(failed)?;
        let points = || series.iter().flat_map(|(_, points)| points);
        let (across, up) = (
            Scale::over(points().map(|(x, _)| x), logarithmic),
            Scale::over(points().map(|(_, y)| y), false),
        );
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(across.low..across.high, up.low..up.high)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_label_formatter(&|place| across.label(*place))
            .y_label_formatter(&|place| up.label(*place))
            .x_desc(axis)
            .y_desc(self.unit)
            .draw()
            .map_err(failed)?;
        for (nth, (name, points)) in (1_u32..).zip(series) {
            let colour = colour(nth);
            let placed = points.iter().map(|(x, y)| (across.place(*x), up.place(*y)));
            chart
                .draw_series(LineSeries::new(placed.clone(), colour.stroke_width(2)))
                .map_err(failed)?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour));
            if points.len() < 20 {
                chart
                    .draw_series(placed.map(|place| Circle::new(place, 3, colour.filled())))
                    .map_err(failed)?;
            }
        }
        legend(&mut chart)
    }
}

fn colour(nth: u32) -> RGBColor {
    let nth = usize::try_from(nth).unwrap_or(0) % PALETTE.len();
    PALETTE.get(nth).copied().unwrap_or(BLACK)
}

/// A chart with two numeric axes.
type Plane<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn legend<'a, B: DrawingBackend + 'a>(chart: &mut Plane<'a, B>) -> Result<()> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .draw()
        .map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

/// Maps values to positions on an axis.
#[derive(Clone, Copy, Debug)]
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    fn over<'a>(values: impl Iterator<Item = &'a f64>, logarithmic: bool) -> Self {
        let usable = values.copied().filter(|value| !logarithmic || *value > 0.0);
        let mut sorted: Vec<f64> = usable.collect();
        sorted.sort_by(f64::total_cmp);
        let (least, greatest) =
            (sorted.first().copied().unwrap_or(1.0), sorted.last().copied().unwrap_or(1.0));
        if logarithmic {
            let (low, high) = (least.log10().floor(), greatest.log10().ceil());
            Self { low, high: if high > low { high } else { low + 1.0 }, logarithmic }
        } else {
            Self { low: least.min(0.0), high: (greatest * 1.1).max(f64::EPSILON), logarithmic }
        }
    }

    fn place(self, value: f64) -> f64 {
        if self.logarithmic { value.max(f64::MIN_POSITIVE).log10().max(self.low) } else { value }
    }

    fn label(self, place: f64) -> String {
        let value = if self.logarithmic { 10_f64.powf(place) } else { place };
        match value {
            v if v >= 1_000_000.0 => format!("{:.0} M", v / 1_000_000.0),
            v if v >= 10_000.0 => format!("{:.0} k", v / 1000.0),
            v if v >= 10.0 => format!("{v:.0}"),
            v if v >= 1.0 => format!("{v:.1}"),
            v => format!("{v:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_are_drawn_with_and_without_values() {
        let folder = tempfile::tempdir().unwrap();
        let bars = |values: Vec<Option<f64>>, logarithmic| Kind::Bars {
            labels: values.iter().map(|_| "P1".to_owned()).collect(),
            series: vec![("ours".to_owned(), values)],
            logarithmic,
        };
        let lines = |points: Vec<(f64, f64)>| Kind::Lines {
            axis: "products",
            series: vec![("first page".to_owned(), points)],
            logarithmic: true,
        };
        let kinds = [
            bars(vec![], false),
            bars(vec![Some(0.5), None, Some(0.0)], true),
            lines(vec![]),
            lines(vec![(10_000.0, 1.0), (1_000_000.0, 2.0)]),
        ];
        for kind in kinds {
            let chart = Chart { name: "chart", title: "Title".into(), unit: "ms", kind };
            chart.draw(folder.path()).unwrap();
            let svg = std::fs::read_to_string(folder.path().join("chart.svg")).unwrap();
            assert!(svg.starts_with("<svg") && svg.contains("Title"), "{svg}");
        }
    }

    #[test]
    fn logarithmic_axis_ends_at_powers_of_ten() {
        let scale = Scale::over([0.3, 250.0].iter(), true);
        assert_eq!((scale.low, scale.high), (-1.0, 3.0));
        assert_eq!(scale.label(3.0), "1000");
        assert!((scale.place(0.0) - -1.0).abs() < 1e-9);
    }
}
