"""One network in memory, shared by all that write with it: adapters are loaded once and switched, and one thread at a time uses the weights.

On processors the active adapter is added to the weights, since small products beside large ones cost a third of the speed there; what the weights
were before is kept and put back, so that no rounding stays behind. Large models on other devices, where memory is dear, get it beside the weights,
and so do layers that share their weights with another one (tied embeddings): that one would get it, too.
"""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTuner
from torch import Tensor
from transformers import PreTrainedModel

from grasper.errors import AdapterError, ConfigError
from grasper.models.adapters import Adapter, find_adapter, prompt_version_of, require_fitting
from grasper.models.fingerprints import fingerprint_weights
from grasper.models.gather import Gathering
from grasper.models.locate import find_weights, first_line
from grasper.models.tokens import Tokens
from grasper.models.weights import choose_device, choose_dtype, load_model, load_tokenizer, without_future_warnings

TRAINED = "default"
"""Name of the adapter that is being trained: the only one that peft writes into the folder itself and not below it."""

MOST_MERGED = 2_000_000_000
"""Parameters of the largest network whose weights are kept twice on a GPU."""

MOST_IDLE = 4
"""Adapters that stay in memory though nobody holds them any more: the ones that were used last."""

DORA = "lora_magnitude_vector.weight"
"""How the names of DoRA's magnitudes end; in files they lack the last part."""

_UNKNOWN = ""
"""In the place of the active adapter's fingerprint while adapters are switched: whoever comes after an interruption begins by putting things back."""


class Backbone(Tokens):
    """A network with its tokenizer, and the adapters that have been put on it.

    Args:
        name: `nano`, a folder, or a Hub id; the folder of an adapter stands for its base with the adapter merged in.
        device: `auto`, `cpu`, `cuda`, `cuda:1` …
        dtype: Number format of the weights; None takes the one that is fast on the device.

    Raises:
        ConfigError: This machine has no such device.
        ModelNotFoundError: The model is neither on disk nor reachable, or cannot be read.
        AdapterError: The folder holds a damaged adapter.
    """

    def __init__(self, name: str, *, device: str = "auto", dtype: torch.dtype | None = None) -> None:
        self.device = choose_device(device)
        found = find_weights(name)
        self.name = found.identity
        super().__init__(load_tokenizer(found.folder, self.name))
        self.model = load_model(found.folder, found.base_identity, device=self.device, dtype=dtype or choose_dtype(self.device))
        self.gathering = Gathering()
        if self.device.type == "cuda":
            torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for each shape, and here nearly every batch has its own
        self._merges = self.device.type == "cpu" or self.model.num_parameters() <= MOST_MERGED
        self._lock = threading.RLock()
        self._peft: PeftModel | None = None
        self._active: str | None = None
        self._num_wearers = 0
        self._holders: dict[str, list[weakref.ref[Adapter]]] = {}
        """Who may still ask for an adapter that is in memory, the one that was used last at the end."""
        self._is_training = False
        self._originals: list[tuple[torch.nn.Parameter, Tensor]] = []
        self.prompt_version: int | None = getattr(self.model.config, "prompt_version", None)
        """Version of grasper's prompts that the network was tuned on, as its configuration or its adapter tells; None for models of others."""
        if found.adapter is not None:
            self._merge_for_good(find_adapter(found.adapter))
            own = prompt_version_of(found.adapter)
            self.prompt_version = self.prompt_version if own is None else own

    def load(self, adapter: Adapter) -> None:
        """Bring an adapter into memory, unless it is there; what the network wears stays on.

        It stays as long as somebody holds the adapter that is given here, and `MOST_IDLE` stay without.

        Raises:
            AdapterError: It is asked for within a training, was made for another model, or is damaged.
        """
        with self._lock:
            if self._peft is None or adapter.fingerprint not in self._peft.peft_config:
                if self._is_training:
                    raise AdapterError(f"adapter {adapter.folder} cannot be put on model {self.name} while another is trained on it")
                outer = (self._active or None) if self._num_wearers else None
                self._switch(None)
                try:
                    self._add(adapter)
                finally:
                    self._switch(outer)
            holders = [holder for holder in self._holders.pop(adapter.fingerprint, []) if holder() is not None]
            if all(holder() is not adapter for holder in holders):  # equal ones are others
                holders.append(weakref.ref(adapter))
            self._holders[adapter.fingerprint] = holders
            self._unload_idle()

    @contextmanager
    def wearing(self, adapter: Adapter | None) -> Iterator[PreTrainedModel]:
        """The network with this adapter and no other, for the calling thread alone while the block runs; blocks of one thread may be nested.

        Raises:
            AdapterError: The adapter is asked for within a training, was made for another model, or is damaged.
        """
        with self._lock:
            if adapter is not None:
                if self._is_training:
                    raise AdapterError(f"adapter {adapter.folder} cannot be put on model {self.name} while another is trained on it")
                self.load(adapter)
            outer = self._active
            self._num_wearers += 1
            try:
                self._switch(adapter.fingerprint if adapter else None)
                yield self.model
            finally:
                self._num_wearers -= 1
                if self._num_wearers:
                    self._switch(outer)

    @contextmanager
    def training(self, lora: LoraConfig) -> Iterator[PeftModel]:
        """The network with a new adapter in training; afterwards the adapter is gone from memory and the network as it was.

        Raises:
            ConfigError: The network has no such target modules.
        """
        with self._lock:
            outer = (self._active or None) if self._num_wearers else None
            self._switch(None)
            is_first = self._peft is None
            try:
                with without_future_warnings():
                    if self._peft is None:
                        self._peft = cast(PeftModel, get_peft_model(self.model, lora, TRAINED))
                    else:
                        self._peft.add_adapter(TRAINED, lora)
            except ValueError as error:
                raise ConfigError(f"align.target_modules {sorted(lora.target_modules or [])} do not fit {self.name}: {error}") from None
            try:
                _layers_of(self._peft).enable_adapter_layers()
                self._peft.set_adapter(TRAINED)
                self._peft.peft_config[TRAINED].base_model_name_or_path = self.name
                self._is_training = True
                yield self._peft
            finally:
                self._is_training = False
                if is_first:
                    self._peft.unload()
                    self._drop_peft()
                else:
                    self._delete(TRAINED)
                    _layers_of(self._peft).disable_adapter_layers()
                self.model.eval()
                self._switch(outer)

    def _add(self, adapter: Adapter) -> None:
        keys, folder = require_fitting(adapter, self.name), adapter.folder
        if find_adapter(folder) != adapter:
            raise AdapterError(f"adapter {folder} has changed since it was opened; open it again")
        try:
            with without_future_warnings():
                warnings.filterwarnings("ignore", message="Found missing adapter keys")  # an error of ours, below
                if self._peft is None:
                    peft_model = PeftModel.from_pretrained(self.model, str(folder), adapter_name=adapter.fingerprint)
                else:
                    peft_model = self._peft
                    peft_model.load_adapter(str(folder), adapter_name=adapter.fingerprint)
        except Exception as error:  # wrong shapes and wrong modules raise errors of several kinds
            self._forget(adapter)
            raise AdapterError(f"adapter {folder} does not fit model '{self.name}': {first_line(error)}") from None
        self._peft = peft_model
        self.model.eval()
        mark = f".{adapter.fingerprint}."
        named = (name.replace(mark, ".") for name, _ in peft_model.named_parameters() if "lora_" in name and mark in name)
        expected = {name.removesuffix(".weight") if name.endswith(DORA) else name for name in named}
        if missing := expected - keys:
            self._forget(adapter)
            raise AdapterError(f"adapter {folder} lacks {len(missing)} of {len(expected)} tensors, first {min(missing)}; it is damaged")
        _layers_of(peft_model).disable_adapter_layers()

    def _unload_idle(self) -> None:
        """Take out of memory what nobody holds and was not used lately; nothing while the network is in use."""
        idle = [fingerprint for fingerprint, holders in self._holders.items() if all(holder() is None for holder in holders)]
        if self._peft is None or self._num_wearers or len(idle) <= MOST_IDLE:
            return
        self._switch(None)
        for fingerprint in idle[:-MOST_IDLE]:
            self._delete(fingerprint)
            del self._holders[fingerprint]
        _layers_of(self._peft).disable_adapter_layers()

    def _delete(self, fingerprint: str) -> None:
        assert self._peft is not None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Adapter .* was active")
            self._peft.delete_adapter(fingerprint)

    def _forget(self, adapter: Adapter) -> None:
        """Leave nothing of an adapter that could not be loaded."""
        if self._peft is not None:
            if adapter.fingerprint in self._peft.peft_config:
                self._delete(adapter.fingerprint)
            if self._peft.peft_config:
                _layers_of(self._peft).disable_adapter_layers()
                return
        _take_off_layers(self.model)
        self._drop_peft()

    def _drop_peft(self) -> None:
        """Forget peft's wrapper, and what it has noted on the network."""
        self._peft = None
        if hasattr(self.model, "peft_config"):
            del self.model.peft_config

    @torch.inference_mode(False)
    @torch.no_grad()
    def _switch(self, fingerprint: str | None) -> None:
        """Put back what the active adapter changed, and apply another."""
        if fingerprint == self._active or self._peft is None:
            return
        self._active = _UNKNOWN
        for parameter, original in reversed(self._originals):  # one that was added to twice is as it was before the first time
            parameter.data = original
        self._originals = []
        layers = [module for module in self._peft.modules() if isinstance(module, LoraLayer)]
        for layer in layers:
            cast(Any, layer).merged_adapters.clear()
        if fingerprint is None:
            _layers_of(self._peft).disable_adapter_layers()
        else:
            _layers_of(self._peft).enable_adapter_layers()
            self._peft.set_adapter(fingerprint, inference_mode=True)
            tied = _tied_parameters(self.model)
            for layer in [layer for layer in layers if self._merges and tied.isdisjoint(_own_parameters(layer))]:
                self._originals += [(parameter, parameter.data) for parameter in layer.get_base_layer().parameters(recurse=False)]
                try:
                    cast(Any, layer).merge(safe_merge=True)
                except ValueError as error:  # numbers that are not finite
                    raise AdapterError(f"adapter {fingerprint} cannot be put on model {self.name}: {first_line(error)}") from None
        self._active = fingerprint

    def _merge_for_good(self, adapter: Adapter) -> None:
        """Make an adapter part of the network, for others that are trained or put on top of it."""
        identity, self.name = self.name, str(self.model.name_or_path)
        self._add(adapter)
        assert self._peft is not None
        _layers_of(self._peft).enable_adapter_layers()
        self._peft.set_adapter(adapter.fingerprint, inference_mode=True)
        tied = _tied_parameters(self.model)
        for layer in [module for module in self._peft.modules() if isinstance(module, LoraLayer) and not tied.isdisjoint(_own_parameters(module))]:
            base = cast(Any, layer.get_base_layer())  # gets weights of its own, for others keep theirs as they are
            base.weight = torch.nn.Parameter(base.weight.detach().clone(), requires_grad=False)
            self.model.config.tie_word_embeddings = self.model.config.get_text_config().tie_word_embeddings = False
        self._peft.merge_and_unload(safe_merge=True)
        self._drop_peft()
        self.name = identity
        self.model.name_or_path = self.model.config._name_or_path = identity


def _layers_of(model: PeftModel) -> BaseTuner:
    return cast(BaseTuner, model.base_model)


def _own_parameters(layer: LoraLayer) -> set[int]:
    """Which parameters the layer has that one of peft's stands on."""
    return {id(parameter) for parameter in layer.get_base_layer().parameters(recurse=False)}


def _tied_parameters(network: PreTrainedModel) -> set[int]:
    """Those that several layers have, such as the first and the last of a network with tied embeddings."""
    holders = Counter(id(parameter) for module in network.modules() for parameter in module.parameters(recurse=False))
    return {parameter for parameter, number in holders.items() if number > 1}


def _take_off_layers(model: PreTrainedModel) -> None:
    """Put plain layers in the place of those that peft has left in a network when it failed."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())


_shared: weakref.WeakValueDictionary[tuple[Any, ...], Backbone] = weakref.WeakValueDictionary()
_shared_lock = threading.Lock()
_latest: list[Backbone] = []
"""The backbone that was asked for last stays in memory, the others as long as somebody holds them."""


def shared_backbone(name: str, device: str) -> Backbone:
    """The one backbone of this name in this process, loaded at the first call; weights that have changed on disk are another one."""
    with _shared_lock:
        found = find_weights(name)
        key = (found.identity, str(choose_device(device)), *map(fingerprint_weights, found.files))
        if (backbone := _shared.get(key)) is None:
            _latest.clear()  # one at a time where nobody holds the other
            gc.collect()  # peft and transformers tie networks into cycles
            backbone = _shared[key] = Backbone(name, device=device)
        _latest[:] = [backbone]
        return backbone
