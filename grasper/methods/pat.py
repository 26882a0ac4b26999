"""PAT (arXiv 2604.24996) and its ablations.

Two trajectories, people who write alike and people with similar taste; two reasoners and a writer that take turns; a warm start of all roles and
preference rounds over the reasoners' notes by their differential reward. Each ablation changes one thing. Those that change only what the prompts
show, or how often the roles take turns, write with the adapter of `pat`, and draw with its seeds:

- `style-only`, `topic-only`: one trajectory and its reasoner; trained on prompts of their own.
- `one-step`: notes and a draft, written once; nobody sees the others' work and revises.
- `no-rl`: the warm start alone, without preference rounds.
- `random-users`: random people's reviews in both trajectories, others in each.
"""

from dataclasses import replace

from grasper.methods.base import Method, Trajectory

STYLE, TOPIC = Trajectory("style", "style"), Trajectory("topic", "topic")

PAT = Method(
    "pat",
    "own reviews and neighbours; notes on style from people who write alike, on topic from people with similar taste; preference rounds",
    own=True,
    others="neighbours",
    trajectories=(STYLE, TOPIC),
    steps=2,
    training="dpo",
    writer="dual",
)
STYLE_ONLY = replace(PAT, name="pat-style-only", description="the style trajectory alone", trajectories=(STYLE,))
TOPIC_ONLY = replace(PAT, name="pat-topic-only", description="the topic trajectory alone", trajectories=(TOPIC,))
ONE_STEP = replace(PAT, name="pat-one-step", description="notes and draft written once, nothing revised", steps=0, adapter_of="pat")
NO_RL = replace(PAT, name="pat-no-rl", description="the warm start of the roles alone, without preference rounds", training="roles")
RANDOM_USERS = replace(
    PAT,
    name="pat-random-users",
    description="random people in both trajectories",
    trajectories=(Trajectory("style", "random-style-users"), Trajectory("topic", "random-topic-users")),
    adapter_of="pat",
)

ABLATIONS = (STYLE_ONLY, TOPIC_ONLY, ONE_STEP, NO_RL, RANDOM_USERS)
