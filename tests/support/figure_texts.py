"""Where the texts of a figure lie."""

from matplotlib.backends.backend_agg import FigureCanvasAgg


def overlapping(figure):
    """The pairs of texts, titles and tick labels whose boxes overlap on the page."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [axes.title for axes in figure.axes]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in texts
        if text.get_visible() and text.get_text()
    ]
    return [(a, b) for i, (a, box) in enumerate(boxes) for b, other in boxes[i + 1 :] if box.overlaps(other)]
