"""Gold paths as in-context examples: how a backbone that cannot be fine-tuned is aligned.

The paper's GPT-4o-mini rows leave open how that model was aligned; this is ours. The gold answers [Z*; t] of the training pairs stand in the prompt
as solved requests, the most similar ones first. Nobody is shown their own: an exemplar may be the very review that is asked for, or one that the
method hides. Like what an adapter was trained on, exemplars are not bound by the time of a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer

from grasper.errors import MissingFileError, RunMismatchError
from grasper.files import read_jsonl
from grasper.metrics.text import unicode_tokens
from grasper.prompts.render import Exemplar
from grasper.prompts.templates import AnswerTask
from grasper.records import Request
from grasper.retrieve.rank import query_of


class ExemplarIndex:
    """Solved requests, found by the similarity of what they give (title, text) to what a request gives.

    Args:
        records: One mapping per gold answer: `task`, `user_id`, `query` (what the request gave), `question` and `answer`.
        k: Exemplars shown per request.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], k: int) -> None:
        self.k = k
        self._exemplars: dict[str, list[tuple[str, Exemplar]]] = {}
        self._vectors: dict[str, tuple[TfidfVectorizer, Any]] = {}
        for task in dict.fromkeys(record["task"] for record in records):
            chosen = [record for record in records if record["task"] == task]
            self._exemplars[task] = [(record["user_id"], Exemplar(record["question"], record["answer"])) for record in chosen]
            vectorizer = TfidfVectorizer(analyzer=unicode_tokens)
            # A word of its own keeps the vocabulary from being empty when nothing is given.
            self._vectors[task] = vectorizer, vectorizer.fit_transform([f"{record['query']} request" for record in chosen])

    @classmethod
    def load(cls, align_dir: Path, k: int) -> ExemplarIndex:
        """The exemplars that an align stage wrote.

        Raises:
            MissingFileError: The stage has not been run.
            RunMismatchError: An earlier version wrote them, without whose they are.
        """
        path = align_dir / "exemplars.jsonl"
        if not path.exists():
            raise MissingFileError(f"{path} does not exist; run `grasper align` first")
        records = read_jsonl(path)
        if not all("user_id" in record for record in records):
            raise RunMismatchError(f"{path} does not say whose reviews its exemplars are; run `grasper align --overwrite`")
        return cls(records, k)

    def nearest(self, request: Request, task: AnswerTask | None = None) -> list[Exemplar]:
        """The `k` exemplars of the request's task whose given fields are most similar, most similar first, without those of the user
        who asks; none where the task has none."""
        name = task or request.task
        if self.k == 0 or name not in self._exemplars:
            return []
        vectorizer, vectors = self._vectors[name]
        query = vectorizer.transform([f"{query_of(request)} request"])
        similarity = (vectors @ query.T).toarray().ravel()
        order = sorted(range(len(similarity)), key=lambda index: (-similarity[index], index))
        others = [exemplar for user_id, exemplar in (self._exemplars[name][index] for index in order) if user_id != request.user_id]
        return others[: self.k]
