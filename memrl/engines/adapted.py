"""A base model and the adapters that it holds: which weights act when an adapter is asked for."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from memrl.engines.adapters import AdapterShelf, cannot_be_loaded
from memrl.engines.heads import Head, head_of
from memrl.records import AdapterRef


class AdaptedModel:
    """A transformers causal LM with LoRA adapters beside it; its own weights are never changed.

    Args:
        model: the base model.
        keep_versions: adapters held at once; the one that was loaded first is unloaded.
        merge: hold each adapter merged into a copy of the base model: faster, and as large again for each. Log-probs
            then differ from the learner's by rounding.
    """

    def __init__(self, model: Any, *, keep_versions: int, merge: bool) -> None:
        self.model = model.eval()
        self._merge = merge
        self._shelf = AdapterShelf(keep_versions)
        self._merged: dict[str, Any] = {}
        self._heads: dict[int, Head | None] = {}
        self._active: str | None = ""
        """The name of the adapter that acts; None: none does; "": nobody knows."""

    def load(self, ref: AdapterRef) -> None:
        """Make an adapter usable.

        Raises:
            EngineError: its folder is damaged or does not fit, or its version is taken by another.
        """
        if not self._shelf.lacks(ref):
            return
        try:
            if self._merge:
                self._merged[ref.name] = self._merged_copy(ref)
            else:
                self._attach(ref)
        except Exception as error:  # peft raises many kinds; all mean that the adapter does not fit this model
            raise cannot_be_loaded(ref, error) from error
        for oldest in self._shelf.add(ref):
            if self._merge:
                self._heads.pop(id(self._merged.pop(oldest.name)), None)
                continue
            self.model.set_adapter(ref.name)  # peft warns when the active one goes
            self.model.delete_adapter(oldest.name)

    def _merged_copy(self, ref: AdapterRef) -> Any:
        from peft import PeftModel

        wrapped = PeftModel.from_pretrained(copy.deepcopy(self.model), ref.path, is_trainable=False)
        return wrapped.merge_and_unload().eval()

    def _attach(self, ref: AdapterRef) -> None:
        from peft import PeftModel

        self._active = ""
        self._heads.clear()  # an adapter may wrap the output embedding
        if not isinstance(self.model, PeftModel):
            self.model = PeftModel.from_pretrained(self.model, ref.path, adapter_name=ref.name, is_trainable=False)
        else:
            try:
                self.model.load_adapter(ref.path, adapter_name=ref.name, is_trainable=False)
            except BaseException:
                if ref.name in self.model.peft_config:
                    self.model.delete_adapter(ref.name)
                raise
        self.model.eval()

    def require(self, adapter: AdapterRef) -> None:
        """Raise EngineError where an adapter is not loaded."""
        self._shelf.require(adapter)

    def under(self, adapter: AdapterRef | None) -> Any:
        """Return the causal LM, with `adapter` acting in it until this is asked again; None: the base model.

        Raises:
            EngineError: the adapter is not loaded.
        """
        if adapter is not None:
            self.require(adapter)
            if self._merge:
                return self._merged[adapter.name]
        if self._merge or not len(self._shelf):
            return self.model
        name = None if adapter is None else adapter.name
        if name != self._active:
            if name is None:
                self.model.base_model.disable_adapter_layers()
            else:
                self.model.base_model.enable_adapter_layers()
                self.model.set_adapter(name)
            self._active = name
        causal: nn.Module = self.model.get_base_model()
        return causal

    def head(self, causal: Any) -> Head | None:
        """Return the head of what `under` returned (`head_of`)."""
        if id(causal) not in self._heads:
            self._heads[id(causal)] = head_of(causal)
        return self._heads[id(causal)]
