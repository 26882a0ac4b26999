"""From a method's trajectories to what each of its roles is shown."""

from __future__ import annotations

from grasper.desk import Desk
from grasper.reason.dual import Evidence
from grasper.records import Example, Profile, Request


def evidence_of(desk: Desk, request: Request, example: Example, profile: Profile) -> Evidence:
    """The evidence of every trajectory that the desk's method declares.

    Args:
        profile: What the writer is shown; each reasoner sees its own reviews, too, and in the place of the others those of its own retriever.
    """
    shown: dict[str, Profile] = {}
    remarks: dict[str, str] = {}
    for trajectory in desk.method.trajectories:
        others = desk.profiles.others(trajectory.retriever, request, example)
        shown[trajectory.role] = Profile(own=profile.own, neighbours=others)
        explain = getattr(desk.store.retriever(trajectory.retriever), "explain", None)
        if explain is not None:
            remarks[trajectory.role] = explain(request, example, desk.prompts.neighbour_entries)
    return Evidence(profile, shown.get("style"), shown.get("topic"), remarks)
