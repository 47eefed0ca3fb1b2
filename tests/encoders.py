"""Small encoders of random weights, as folders of transformers: what dense retrieval and rerankers load."""

from __future__ import annotations

from pathlib import Path

SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789?.,-|"


def save_encoder(folder: Path, *, classes: int = 0, seed: int = 0) -> Path:
    """Write a BERT of one layer, whose tokens are single signs.

    Args:
        classes: of pairs; 0: it embeds.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocab = {token: number for number, token in enumerate([*special, *SIGNS])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=max(classes, 1), initializer_range=0.5,
    )  # fmt: skip
    model = BertForSequenceClassification(config) if classes else BertModel(config)
    model.save_pretrained(folder)
    return folder
