"""A chart is drawn the same by both libraries, and its words are only words."""

from study.analysis.charts import Chart, Panel, Series, matplotlib_png, plotly_figure


def test_words_are_not_taken_for_markup_by_plotly() -> None:
    series = Series("<b>name</b>", [1], [0], hover=[("first", "<a href='x'>")])
    figure = plotly_figure(Chart((Panel("x", "", (series,), y_names=["<i>row</i>"]),)))
    assert figure.data[0].name == "&lt;b&gt;name&lt;/b&gt;"
    assert figure.data[0].hovertext == ("first<br>&lt;a href=&#x27;x&#x27;&gt;",)
    assert figure.layout.yaxis.ticktext == ("&lt;i&gt;row&lt;/i&gt;",)


def test_series_of_one_name_share_an_entry_in_the_legend() -> None:
    panels = tuple(Panel("x", "y", (Series("same", [1, 2], [3, 4], style="line"),)) for _ in "ab")
    figure = plotly_figure(Chart(panels))
    assert [trace.showlegend for trace in figure.data] == [True, False]
    assert matplotlib_png(Chart(panels)).startswith(b"\x89PNG")


def test_a_missing_half_width_is_drawn_as_no_bar() -> None:
    series = Series("seeds", [1, 2], [3, 4], y_error=[None, 0.5])
    chart = Chart((Panel("x", "y", (series,), x_log=True, y_line=3.5, x_line=1.5),))
    assert plotly_figure(chart).data[0].error_y.array == (0.0, 0.5)
    assert matplotlib_png(chart).startswith(b"\x89PNG")
