"""REST-PG: reasons over the user's own reviews, trained by self-training rounds (arXiv 2501.04167)."""

from grasper.methods.base import Method

REST_PG = Method("rest_pg", "own reviews, reasoning, self-training", own=True, reasoning=True, training="em")
