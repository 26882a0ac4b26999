"""LaMP: the user's own reviews that suit the request best (arXiv 2304.11406)."""

from grasper.methods.base import Method

LAMP = Method("lamp", "own reviews", own=True)
