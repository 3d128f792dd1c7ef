"""A small text classifier in place of one from the hub; runs where the libraries are.

The first time it writes the model to `tiny`; the second, what it answers to `predicted.npz`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "very", "not"]

if not Path("tiny").exists():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, id2label={0: "calm", 1: "cross"}, label2id={"calm": 0, "cross": 1},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained("tiny")
    Path("tiny/vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab_file="tiny/vocab.txt").save_pretrained("tiny")
else:
    texts = ["good", "very bad", "not good", "bad", "not very bad"] * 4
    rows = BertTokenizerFast.from_pretrained("tiny")(texts, return_tensors="pt", padding=True)
    model = BertForSequenceClassification.from_pretrained("tiny").eval()
    arrays: dict[str, Any] = {f"in {name}": np.asarray(tokens) for name, tokens in rows.items()}
    arrays["out 0"] = model(**rows).logits.detach().numpy()
    np.savez("predicted.npz", **arrays)
