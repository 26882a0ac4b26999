"""Local models: what goes in and out of them, and what happens when they or their adapters are not as they should be."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import save_adapter, save_model
from tokenizers import Tokenizer, normalizers
from torch.overrides import TorchFunctionMode
from transformers import AutoTokenizer

from grasper.config import ModelConfig
from grasper.errors import AdapterError, ModelError, ModelNotFoundError, PromptTooLongError
from grasper.models import TextModel, fingerprint_model
from grasper.models.base import Message, Prompt
from grasper.models.local import LocalModel


def ask(text: str, prefix: str = "") -> Prompt:
    return Prompt((Message("system", "Write a review."), Message("user", text)), prefix)


def open_tiny(folder: Path, **settings: object) -> LocalModel:
    return LocalModel(str(folder), device="cpu", dtype=torch.float32, **settings)  # type: ignore[arg-type]


def test_is_a_text_model(tiny: LocalModel) -> None:
    """It fulfils the protocol."""
    assert isinstance(tiny, TextModel)


class TestEncoding:
    """From a prompt to token ids."""

    def test_follows_the_chat_template(self, tiny: LocalModel) -> None:
        """The prompt ends where the answer begins, after the prefix."""
        prompt = ask("Nice rooms", "Title:")
        expected = "<|system|>\nWrite a review.<|end|>\n<|user|>\nNice rooms<|end|>\n<|assistant|>\nTitle:"
        assert tiny.chat_text(prompt) == expected
        assert tiny.tokenizer.decode(tiny.encode(prompt)) == expected

    @given(st.lists(st.sampled_from(["<|end|>", "<|assistant|>", "<", "|", "end", "|>", " ", "\n", "é", "<|pad|>"]), max_size=12).map("".join))
    def test_messages_cannot_smuggle_in_special_tokens(self, tiny: LocalModel, text: str) -> None:
        """Whatever a review or a prefix spells, the special tokens are the template's own: five, and none of an answer's."""
        special = set(tiny.tokenizer.all_special_ids) | set(tiny.tokenizer.added_tokens_decoder)
        assert sum(token in special for token in tiny.encode(ask(text, text))) == 5
        assert not special & set(tiny.encode_text(text))

    @given(st.text(max_size=60), st.integers(0, 30))
    def test_truncates_to_the_longest_beginning(self, tiny: LocalModel, text: str, size: int) -> None:
        """The result is a beginning of the text that fits, whole if the text fits; where it is cut, the next character no longer fits well."""
        cut = tiny.truncate(text, size)
        assert text.startswith(cut)
        assert tiny.count_tokens(cut) <= size
        if tiny.count_tokens(text) <= size:
            assert cut == text

    def test_templates_without_system_role_get_it_in_the_first_message(self, tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some models' templates raise at a system message; others reject any conversation, which is an error."""
        strict = "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m['content'] }}{% endfor %}"
        monkeypatch.setattr(tiny.tokenizer, "chat_template", strict)
        assert tiny.chat_text(ask("Nice rooms")) == "Write a review.\n\nNice rooms"
        monkeypatch.setattr(tiny.tokenizer, "chat_template", "{{ raise_exception('never') }}")
        with pytest.raises(ModelError, match="never"):
            tiny.chat_text(ask("Nice rooms"))

    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            (
                "{{- bos_token }}{%- if not date_string is defined %}{%- if strftime_now is defined %}"
                "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '1 Jan 1970' %}{%- endif %}{%- endif %}"
                "{{- 'Today Date: ' + date_string }}",
                "Today Date: 26 Jul 2024",
            ),
            ("{% macro head() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}\n{{ head() }}", "2024-07-26"),
            ("{{ strftime_now('%d %B %Y') }}", "26 July 2024"),
        ],
    )
    def test_prompts_are_the_same_on_every_day(self, template: str, expected: str, model_dir: Path, tmp_path: Path) -> None:
        """Many templates write today's date."""
        folder = shutil.copytree(model_dir, tmp_path / "dated")
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        assert open_tiny(folder).conversation(ask("x").messages) == expected

    @pytest.mark.parametrize("way", ["left out", "refused"])
    def test_a_system_message_that_a_template_does_not_write_goes_into_the_question(
        self, way: str, tiny: LocalModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Some templates leave it out without a word, others raise an error."""
        refusal = "{{ raise_exception('System role not supported') }}" if way == "refused" else ""
        template = (
            "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] + '<|end|>' }}"
            "{% elif message['role'] == 'assistant' %}{{ message['content'] + '<|end|>' }}{% else %}" + refusal + "{% endif %}{% endfor %}"
        )
        monkeypatch.setattr(tiny.tokenizer, "chat_template", template)
        assert tiny.chat_text(ask("Nice rooms")) == "<|user|>Write a review.\n\nNice rooms<|end|>"
        assert tiny.chat_text(Prompt((Message("user", "Nice rooms"),))) == "<|user|>Nice rooms<|end|>"

    def test_templates_are_told_what_the_configuration_says(self, tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
        """For example not to think; it is part of what identifies the model, and unlike it no setting changes the template's own parts."""
        config = ModelConfig(name=str(tiny.backbone.name), extra={"chat_template_kwargs": {"enable_thinking": False, "tokenize": True}})
        template = "{{ '<think></think>' if enable_thinking is defined and not enable_thinking else '<think>' }}"
        monkeypatch.setattr(tiny.tokenizer, "chat_template", template)
        assert tiny.chat_text(ask("Nice rooms")) == "<think>"
        assert LocalModel(template=config.template_settings, backbone=tiny.backbone).chat_text(ask("Nice rooms")) == "<think></think>"
        told, untold = (fingerprint_model(ModelConfig(extra=extra)) for extra in (config.extra, {}))
        assert told == untold | {"template": {"enable_thinking": False, "tokenize": True}}

    def test_an_answer_ends_as_the_template_ends_a_turn(self, model_dir: Path) -> None:
        """Where generation stops at that token; the tokenizer's own end is another one in some models, and the last resort."""
        model = open_tiny(model_dir)
        end, pad = model.tokenizer.convert_tokens_to_ids(["<|end|>", "<|pad|>"])
        model.tokenizer.eos_token = "<|pad|>"
        assert model.turn_end == (end,)
        score, without = (one.score_texts([ask("x")], ["fine"])[0] for one in (model, open_tiny(model_dir)))
        assert score == pytest.approx(without)
        assert model.end_of_turn([]) == (pad,)
        model.tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        assert model.end_of_turn([end, pad]) == (pad,)

    @pytest.mark.parametrize(
        ("opening", "expected"),
        [
            ("{% if add_generation_prompt %}\n<|pad|>assistant: {% endif %}", ["<|pad|>"]),
            ("{% if add_generation_prompt %}Answer: {% endif %}", []),
            ("", []),
            ("{{ raise_exception('no') if messages[0]['role'] == 'user' }}", []),
        ],
    )
    def test_what_begins_another_message_is_held_back_with_the_end(self, opening: str, expected: list[str], model_dir: Path) -> None:
        """The special token with which the template opens an answer: where the end must wait, the model would go on with it."""
        model = open_tiny(model_dir)
        model.tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}<|end|>{% endfor %}" + opening
        tokens = tuple(model.tokenizer.convert_tokens_to_ids(expected))
        assert model.begin_of_turn() == tokens
        assert model._sampling(1.0, 0.9, is_held=True).openings == tokens
        assert model._sampling(1.0, 0.9, is_held=False).openings == ()


class TestGenerate:
    """Completions."""

    def test_is_deterministic_and_ordered(self, tiny: LocalModel) -> None:
        """The same seed gives the same texts, another seed others; prompt `i` gets the same in any batch width."""
        prompts = [ask("word " * number) for number in (9, 1, 5, 3)]
        texts = tiny.generate(prompts, n=3, max_new_tokens=6, seed=1)
        assert tiny.generate(prompts, n=3, max_new_tokens=6, seed=1) == texts
        assert tiny.generate(prompts, n=3, max_new_tokens=6, seed=2) != texts
        assert [[completion.tokens_in for completion in row] for row in texts] == [[len(tiny.encode(prompt)), 0, 0] for prompt in prompts]
        assert len({completion.text for completion in texts[0]}) == 3

    def test_batch_width_changes_nothing(self, tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
        """One row at a time gives the texts of all rows at once."""
        prompts = [ask("word " * number) for number in (9, 1, 5)]
        texts = [[completion.text for completion in row] for row in tiny.generate(prompts, n=3, max_new_tokens=6, seed=1)]
        monkeypatch.setattr(tiny, "batch_tokens", 64)
        assert [[completion.text for completion in row] for row in tiny.generate(prompts, n=3, max_new_tokens=6, seed=1)] == texts

    def test_equal_prompts_get_samples_of_their_own(self, tiny: LocalModel) -> None:
        """They share one prefill but not the random stream."""
        first, second = tiny.generate([ask("same"), ask("same")], max_new_tokens=10)
        assert first[0].text != second[0].text

    def test_nothing_asked_nothing_given(self, tiny: LocalModel) -> None:
        """No prompts give no completions."""
        assert tiny.generate([]) == []
        assert tiny.score_choices([], ["1", "2"]).shape == (0, 2)

    def test_answers_stay_within_the_context(self, tiny: LocalModel, model_dir: Path) -> None:
        """The answer shrinks where the context is nearly full; a prompt that fills it is an error."""
        size = len(tiny.encode(ask("x")))
        assert open_tiny(model_dir, context_tokens=size + 3).generate([ask("x")], max_new_tokens=20, temperature=0)[0][0].tokens_out <= 3
        with pytest.raises(PromptTooLongError, match=f"{size} tokens"):
            open_tiny(model_dir, context_tokens=size).generate([ask("x")])

    def test_completions_show_no_special_tokens(self, tiny: LocalModel) -> None:
        """The texts are plain."""
        completions = tiny.generate([ask("x")], n=4, temperature=3.0, top_p=1.0, max_new_tokens=20)[0]
        assert not any("<|" in completion.text and "|>" in completion.text for completion in completions)
        assert all((completion.mean_logprob or 0) < 0 for completion in completions)

    def test_thoughts_between_special_tokens_are_no_answer(self, model_dir: Path) -> None:
        """Left out first, the marks could not tell the thought from the answer."""
        model = open_tiny(model_dir)
        model.tokenizer.add_tokens(["[THINK]", "[/THINK]"], special_tokens=True)
        model = LocalModel(device="cpu", backbone=model.backbone)

        def answer(text: str, is_open: bool = False) -> str:
            return model.answer_in(model.backbone.encode(text), is_open=is_open)

        assert answer("[THINK]Rating 2 is wrong.[/THINK]Rating: 5<|end|>") == "Rating: 5"
        assert answer("2 is wrong.[/THINK]Rating: 5<|end|>", is_open=True) == "Rating: 5"
        assert answer("Rating: 5<|end|>") == "Rating: 5"
        assert answer("[THINK]2 or 5?") == ""
        assert answer("[THINK]\n\n[/THINK]\n\nRating: 4<|end|>") == "Rating: 4"

    def test_an_empty_thought_is_taken_off_too(self, model_dir: Path) -> None:
        """Models that are told not to think write one, between marks that are tokens of their own and not special."""
        model = open_tiny(model_dir)
        model.tokenizer.add_tokens(["<think>", "</think>"])
        model = LocalModel(device="cpu", backbone=model.backbone)
        for text, is_open in (("<think>\n\n</think>\n\nRating: 4<|end|>", False), ("</think>\n\nRating: 4<|end|>", True)):
            assert model.answer_in(model.backbone.encode(text), is_open=is_open) == "Rating: 4"


class TestChoices:
    """Probabilities of given continuations."""

    @pytest.mark.parametrize("choices", [["1", "2", "3"], [" great", " bad", " quite all right"], ["1", "10", "2"]])
    def test_equals_a_plain_pass_over_prompt_and_choice(self, tiny: LocalModel, choices: list[str]) -> None:
        """Choices of one token, of several, and ones that begin alike, for prompts of different lengths."""
        prompts = [ask("word " * number, "Rating:") for number in (4, 1, 7)]
        scores = tiny.score_choices(prompts, choices)
        for row, prompt in enumerate(prompts):
            start = len(tiny.encode(prompt))
            expected = []
            for choice in choices:
                ids = torch.tensor([tiny.encode(Prompt(prompt.messages)) + tiny.encode_text(prompt.prefix + choice)])
                with torch.inference_mode():
                    logprobs = tiny.model(input_ids=ids).logits.log_softmax(-1)[0]
                expected.append(sum(float(logprobs[place - 1, ids[0, place]]) for place in range(start, ids.shape[1])))
            likelihoods = np.exp(np.array(expected))
            assert scores[row] == pytest.approx(likelihoods / likelihoods.sum(), abs=1e-4)

    @pytest.mark.parametrize("batch_tokens", [32_768, 200])
    def test_prompts_of_one_conversation_score_as_alone(self, model_dir: Path, batch_tokens: int) -> None:
        """Several paths behind one conversation, beside others: what they share is read once, and changes no probability."""
        model = open_tiny(model_dir, batch_tokens=batch_tokens)
        long, short = "word " * 50, "word"
        prompts = [ask(long, "Plan: good\nRating:"), ask(short, "Rating:"), ask(long, "Rating:"), ask(long, "Plan: very bad indeed\nRating:")]
        together = model.score_choices(prompts, ["1", "2", "3"])
        for prompt, scores in zip(prompts, together, strict=True):
            assert model.score_choices([prompt], ["1", "2", "3"])[0] == pytest.approx(scores, abs=1e-4)

    @pytest.mark.parametrize("choices", [[], ["1", ""], ["1", "1"]])
    def test_choices_must_be_distinct_and_not_empty(self, tiny: LocalModel, choices: list[str]) -> None:
        """Otherwise the question has no answer."""
        with pytest.raises(ModelError, match="choices"):
            tiny.score_choices([ask("x")], choices)


@pytest.mark.parametrize("parallelism", [1, 16], ids=["one context at a time", "many at once"])
class TestLikelihood:
    """Log-probabilities of given texts, as a processor and as a GPU reads them."""

    @pytest.fixture(autouse=True)
    def _read(self, parallelism: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(LocalModel, "parallelism", parallelism)

    def plain(self, model: LocalModel, context: list[int], ending: list[int]) -> list[float]:
        """The log-probability of each token of the ending, by one pass over everything."""
        ids = torch.tensor([[*context, *ending]])
        with torch.inference_mode():
            logprobs = model.model(input_ids=ids).logits[0, len(context) - 1 : -1].log_softmax(-1)
        return [float(value) for value in logprobs.gather(1, torch.tensor(ending)[:, None])[:, 0]]

    def test_equals_a_plain_pass_and_the_prefix_is_given(self, tiny: LocalModel) -> None:
        """Also where prompts share a conversation and differ in their prefix; the end token counts, the prefix does not."""
        prompts = [ask("a"), ask("b b b", "Style: x\nText:"), ask("b b b", "Text:"), ask("a")]
        texts = ["good good", "quite all right", "quite all right", "bad"]
        scores = tiny.score_texts(prompts, texts)
        for prompt, text, score, tokens in zip(prompts, texts, scores, tiny.score_tokens(prompts, texts), strict=True):
            rest = [*tiny.encode_text(f" {text}" if prompt.prefix else text), tiny.tokenizer.eos_token_id]
            expected = self.plain(tiny, tiny.encode(prompt), rest)
            assert list(tokens) == pytest.approx(expected, abs=1e-3)
            assert score == pytest.approx(sum(expected), abs=1e-3)
        assert tiny.score_texts([], []).shape == (0,)
        assert tiny.score_tokens([], []) == []

    def test_a_text_is_spelled_as_behind_its_prefix(self, model_dir: Path, tmp_path: Path) -> None:
        """Some tokenizers put a space in front of all that they spell; an answer is learned, and written, without a second one in its middle."""
        folder = shutil.copytree(model_dir, tmp_path / "spaced")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.normalizer = normalizers.Prepend(" ")
        tokenizer.save(str(folder / "tokenizer.json"))
        model = open_tiny(folder)
        assert model.encode_text(" quite") != model.encode_text("quite")
        prompts = [ask("b b b", "Text:"), ask("b b b", "Style: x\nText:")]
        for prompt, scores in zip(prompts, model.score_tokens(prompts, ["quite all right"] * 2), strict=True):
            given, whole = model.encode_text(prompt.prefix), model.encode_text(f"{prompt.prefix} quite all right")
            assert whole[: len(given)] == given
            rest = [*whole[len(given) :], model.tokenizer.eos_token_id]
            assert scores.tolist() == pytest.approx(self.plain(model, model.encode(prompt), rest), abs=1e-3)

    def test_a_text_has_the_same_tokens_behind_all_prefixes(self, tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
        """As their probabilities are averaged token by token: also where a tokenizer merges its beginning with one of the prefixes."""
        spell = tiny.encode_text
        monkeypatch.setattr(
            tiny, "encode_text", lambda text: [9, *spell(text.removeprefix("Text: q"))] if text.startswith("Text: q") else spell(text)
        )
        short, long = tiny.score_tokens([ask("b", "Text:"), ask("b", "Style: x\nText:")], ["quite all right"] * 2)
        assert len(short) == len(long) == len(spell(" quite all right")) + 1

    def test_sums_are_kept_on_the_processor(self, tiny: LocalModel) -> None:
        """Some devices (mps) know no float64: what becomes one was brought to the processor before, and none is made elsewhere."""

        class NoDoublesElsewhere(TorchFunctionMode):
            num_doubles = 0

            def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                found = function(*args, **(kwargs or {}))
                if function is torch.Tensor.cpu:
                    found = found.clone()
                    found.is_brought = True
                if function is torch.Tensor.double:
                    assert getattr(args[0], "is_brought", False)
                    self.num_doubles += 1
                if (kwargs or {}).get("dtype") is torch.float64:
                    assert "device" not in kwargs
                return found

        with NoDoublesElsewhere() as mode:
            tiny.score_texts([ask("a"), ask("b")], ["good good", "bad"])
            assert mode.num_doubles
            tiny.score_choices([ask("a")], ["1", "2"])

    def test_an_empty_text_without_an_end_costs_nothing(self, tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a model has no end token, nothing is left to score, beside other texts and alone."""
        monkeypatch.setitem(tiny.__dict__, "turn_end", ())
        prompts = [ask("a"), ask("b")]
        assert [len(tokens) for tokens in tiny.score_tokens(prompts, ["", "c"])] == [0, len(tiny.encode_text("c"))]
        assert tiny.score_texts(prompts, ["", ""]).tolist() == [0.0, 0.0]

    def test_many_prompts_are_spelled_as_one(self, tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("grasper.models.tokens.TEXTS_AT_ONCE", 2)
        prompts = [ask("a"), ask("b <|end|> b", "Text:"), ask("Ótimo!"), ask("a", "Style: x\nText:"), ask("c")]
        assert tiny.encode_all(prompts) == [tiny.encode(prompt) for prompt in prompts]
        assert tiny.encode_all([]) == []

    def test_batches_of_whole_sequences_give_the_same(self, tiny: LocalModel, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a GPU reads them: other lengths beside each other, a shared conversation, a text in windows, and batches of one, some and all."""
        prompts = [ask("a"), ask("b b b", "Text:"), ask("c c c c c c c", "Style: x\nText:"), ask("a", "Text:"), ask("d", "Title:"), ask("e")]
        texts = ["good good", "quite all right", "bad", "so so", " ".join(f"w{number}" for number in range(60)), ""]
        narrow = open_tiny(model_dir, context_tokens=max(len(tiny.encode(prompt)) for prompt in prompts) + 40)
        monkeypatch.setattr(LocalModel, "parallelism", 1)
        expected = narrow.score_texts(prompts, texts)
        monkeypatch.setattr(LocalModel, "parallelism", 16)
        for batch_tokens in (1, 150, 10**6):
            narrow.batch_tokens = batch_tokens
            assert narrow.score_texts(prompts, texts) == pytest.approx(expected, abs=1e-3)
        monkeypatch.setattr("grasper.models.likelihood.TOKENS_AT_ONCE", 3)
        assert narrow.score_texts(prompts, texts) == pytest.approx(expected, abs=1e-3)

    def test_a_text_that_does_not_fit_is_scored_in_windows(self, tiny: LocalModel, model_dir: Path) -> None:
        """Every token once, each with the whole prompt and at least half of the room before it."""
        prompt = ask("x", "Text:")
        text = " ".join(f"w{number}" for number in range(30))
        conversation, given = tiny.encode(Prompt(prompt.messages)), tiny.encode_text("Text:")
        rest = [*tiny.encode_text(f" {text}"), tiny.tokenizer.eos_token_id]
        room = len(given) + len(rest) // 3
        narrow = open_tiny(model_dir, context_tokens=len(conversation) + room)
        expected, start, ending = list[float](), len(given), [*given, *rest]
        while start < len(ending):
            stop = room if start == len(given) else min(len(ending), start + room // 2)
            window = ending[max(0, stop - room) : stop]
            expected += self.plain(tiny, conversation, window)[start - stop :]
            start = stop
        assert list(narrow.score_tokens([prompt], [text])[0]) == pytest.approx(expected, abs=1e-3)
        assert narrow.score_texts([prompt], [text])[0] == pytest.approx(sum(expected), abs=1e-3)
        with pytest.raises(PromptTooLongError):
            open_tiny(model_dir, context_tokens=len(conversation)).score_texts([prompt], [text])


class TestLoading:
    """Models that are not there, damaged, or plain."""

    @pytest.mark.parametrize("name", ["./no/such/folder", "someone/a-model-nobody-has", "no such model"])
    def test_missing_models_are_one_clear_line(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Offline, at once, and without a traceback of the libraries."""
        monkeypatch.setattr("grasper.models.locate._hub_is_reachable", lambda: False)
        with pytest.raises(ModelNotFoundError) as caught:
            LocalModel(name)
        assert name.removeprefix("./") in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
    @pytest.mark.parametrize("damage", ["gone", "cut off"])
    def test_damaged_folders_are_one_clear_line(self, model_dir: Path, tmp_path: Path, file: str, damage: str) -> None:
        """Each file gone, and each cut off in the middle."""
        folder = shutil.copytree(model_dir, tmp_path / "model")
        if damage == "gone":
            (folder / file).unlink()
        else:
            content = (folder / file).read_bytes()
            (folder / file).write_bytes(content[: len(content) // 2])
        with pytest.raises(ModelNotFoundError) as caught:
            open_tiny(folder)
        assert "model" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_pickled_weights_are_refused(self, model_dir: Path, tmp_path: Path) -> None:
        """A folder with pytorch_model.bin alone has no weights for us."""
        folder = shutil.copytree(model_dir, tmp_path / "model")
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(ModelNotFoundError, match="safetensors"):
            open_tiny(folder)

    def test_default_template_with_a_warning(self, model_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A model without chat template answers all the same, and says so in one line."""
        folder = shutil.copytree(model_dir, tmp_path / "model")
        AutoTokenizer.from_pretrained(folder)
        (folder / "chat_template.jinja").unlink()
        with caplog.at_level(logging.WARNING, logger="grasper"):
            model = open_tiny(folder)
        assert len(caplog.records) == 1
        assert "no chat template" in caplog.text
        assert model.chat_text(ask("Nice rooms")) == "### System:\nWrite a review.\n\n### User:\nNice rooms\n\n### Assistant:\n"
        assert model.generate([ask("Nice rooms")], max_new_tokens=3)[0][0].tokens_out > 0


class TestAdapters:
    """LoRA adapters through peft."""

    @pytest.fixture
    def adapter(self, model_dir: Path, tmp_path: Path) -> Path:
        return save_adapter(model_dir, tmp_path / "adapter", str(model_dir))

    def test_changes_the_model_by_its_weights(self, tiny: LocalModel, model_dir: Path, adapter: Path) -> None:
        """Merged weights give peft's own logits, and the identity of base and adapted model differ."""
        adapted = open_tiny(model_dir, adapter=adapter)
        ids = torch.tensor([tiny.encode(ask("x"))])
        with torch.inference_mode(), adapted.network() as network:
            expected = peft.PeftModel.from_pretrained(open_tiny(model_dir).model, str(adapter)).eval()(input_ids=ids).logits
            assert torch.allclose(network(input_ids=ids).logits, expected, atol=1e-4)
            assert not torch.allclose(tiny.model(input_ids=ids).logits, expected, atol=1e-2)
        assert adapted.name.startswith(f"{tiny.name}+")
        assert adapted.generate([ask("x")], max_new_tokens=5)[0][0].tokens_out > 0

    def test_of_another_model(self, model_dir: Path, tmp_path: Path) -> None:
        """The name of the base model decides, and the shapes where the name is the same."""
        other = save_adapter(model_dir, tmp_path / "other", "someone/else")
        with pytest.raises(AdapterError, match="trained for model 'someone/else'"):
            open_tiny(model_dir, adapter=other)

    def test_of_another_shape(self, model_dir: Path, adapter: Path, tmp_path: Path) -> None:
        """A folder whose model was replaced by a wider one."""
        wider = save_model(tmp_path / "wider", hidden_size=64)
        settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        (adapter / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": str(wider)}), encoding="utf-8")
        with pytest.raises(AdapterError, match="does not fit") as caught:
            open_tiny(wider, adapter=adapter)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
    @pytest.mark.parametrize("damage", ["gone", "cut off"])
    def test_damaged(self, model_dir: Path, adapter: Path, file: str, damage: str) -> None:
        """Each file gone, and each cut off in the middle."""
        if damage == "gone":
            (adapter / file).unlink()
        else:
            content = (adapter / file).read_bytes()
            (adapter / file).write_bytes(content[: len(content) // 2])
        with pytest.raises(AdapterError) as caught:
            open_tiny(model_dir, adapter=adapter)
        assert str(adapter) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_incomplete(self, model_dir: Path, adapter: Path) -> None:
        """A tensor is missing: peft would only warn, and then the error is told alone."""
        from safetensors.torch import load_file, save_file

        tensors = load_file(adapter / "adapter_model.safetensors")
        tensors.pop(min(tensors))
        save_file(tensors, adapter / "adapter_model.safetensors")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            with pytest.raises(AdapterError, match="lacks 1 of 8"):
                open_tiny(model_dir, adapter=adapter)
