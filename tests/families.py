"""Tiny models of each family with random weights, and tokenizers trained on given texts.

Special tokens and their places are those of each family; the vocabularies are not.
"""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from close_transfer.models.bpe_tokenizer import train_bpe

# Chat template in the form of Qwen's and SmolLM's. Qwen3's adds an empty block of thoughts to each answer.
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking and THINKS %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
_WIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_ROTARY = {**_WIDE, "num_key_value_heads": 2, "max_position_embeddings": 128, "head_dim": 8}

FAMILIES = {
    "t5": ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_heads": 4, "num_layers": 2, "dropout_rate": 0.0}),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "gptj": ("gptj", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "rotary_dim": 4}),
    "opt": (
        "opt",
        {"hidden_size": 32, "word_embed_proj_dim": 16, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 128, "dropout": 0.0},
    ),
    "qwen2": ("qwen2", {**_ROTARY}),
    "qwen3": ("qwen3", {**_ROTARY}),
    "llama": ("llama", {**_ROTARY}),
    "smollm2": ("llama", {**_ROTARY, "tie_word_embeddings": True}),
}  # fmt: skip


def _byte_level(texts, special, begin=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if begin:
        number = tokenizer.token_to_id(begin)
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, number)])
    return tokenizer


def _sentence_piece(texts):
    """Train a tokenizer that writes spaces as Llama 2 does, and puts its start token before every text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def build_tokenizer(family, texts):
    """Return a tokenizer with the family's special tokens, trained on the texts."""
    if family == "t5":
        return train_bpe(texts, 400, end_token="</s>")
    if family in ("gpt2", "gptj"):
        end = "<|endoftext|>"
        return PreTrainedTokenizerFast(tokenizer_object=_byte_level(texts, [end]), bos_token=end, eos_token=end)
    if family == "opt":
        inner = _byte_level(texts, ["<s>", "<pad>", "</s>", "<unk>"], begin="</s>")
        return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="</s>", eos_token="</s>", pad_token="<pad>")
    if family == "llama":
        return PreTrainedTokenizerFast(tokenizer_object=_sentence_piece(texts), bos_token="<s>", eos_token="</s>")
    inner = _byte_level(texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = _CHAT.replace("THINKS", "true" if family == "qwen3" else "false")
    return tokenizer


def tiny_family(family, folder, texts):
    """Save a tiny model of the family and its tokenizer in the folder; return the folder."""
    model_type, settings = FAMILIES[family]
    tokenizer = build_tokenizer(family, texts)
    config = AutoConfig.for_model(
        model_type,
        **settings,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    if model_type == "t5":
        config.decoder_start_token_id = tokenizer.pad_token_id
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    auto.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
