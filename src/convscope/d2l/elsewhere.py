"""Names of the book's library that are not here: where they belong, and what to use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CHAPTERS: dict[str, str] = {
    "chapter 3, linear regression": "SyntheticRegressionData LinearRegressionScratch LinearRegression SGD linreg "
    "squared_loss synthetic_data load_array sgd",
    "chapter 4, linear classification": "SoftmaxRegression",
    "chapter 9, recurrent networks": "TimeMachine Vocab RNNScratch RNN RNNLMScratch RNNLM check_len check_shape "
    "grad_clipping",
    "chapter 10, modern recurrent networks": "GRU LSTM MTFraEng Encoder Decoder EncoderDecoder Seq2Seq Seq2SeqEncoder "
    "init_seq2seq bleu show_list_len_pair_hist read_data_nmt preprocess_nmt tokenize_nmt truncate_pad build_array_nmt "
    "load_data_nmt sequence_mask MaskedSoftmaxCELoss train_seq2seq predict_seq2seq",
    "chapter 11, attention": "show_heatmaps masked_softmax DotProductAttention AdditiveAttention AttentionDecoder "
    "MultiHeadAttention PositionalEncoding PositionWiseFFN AddNorm TransformerEncoderBlock TransformerEncoder",
    "chapter 12, optimization": "annotate train_2d show_trace_2d get_data_ch11 train_ch11 train_concise_ch11",
    "chapter 13, computational performance": "Benchmark split_batch resnet18",
    "chapter 14, computer vision": "train_batch_ch13 train_ch13 box_corner_to_center box_center_to_corner bbox_to_rect "
    "multibox_prior show_bboxes box_iou assign_anchor_to_bbox offset_boxes multibox_target offset_inverse nms "
    "multibox_detection read_data_bananas BananasDataset load_data_bananas read_voc_images voc_colormap2label "
    "voc_label_indices voc_rand_crop VOCSegDataset load_data_voc VOC_CLASSES VOC_COLORMAP read_csv_labels copyfile "
    "reorg_train_valid reorg_test",
    "chapter 15, pretraining for language": "read_ptb subsample get_centers_and_contexts RandomGenerator get_negatives "
    "batchify load_data_ptb TokenEmbedding get_tokens_and_segments BERTEncoder MaskLM NextSentencePred BERTModel "
    "load_data_wiki tokenize",
    "chapter 16, applications to language": "read_imdb load_data_imdb predict_sentiment read_snli SNLIDataset "
    "load_data_snli predict_snli",
    "chapter 17, reinforcement learning": "frozen_lake make_env show_value_function_progress show_Q_function_progress",
    "chapter 18, Gaussian processes": "rbfkernel distance_matrix",
    "chapter 19, hyperparameter optimization": "HPOTrainer HPOSearcher RandomSearcher HPOScheduler BasicScheduler "
    "HPOTuner hpo_objective_lenet SuccessiveHalvingScheduler",
    "chapter 20, adversarial networks": "update_D update_G",
    "the appendix on tools": "download extract download_extract DATA_HUB DATA_URL evaluate_loss",
    "an earlier edition": "train_ch3 train_epoch_ch3 predict_ch3 evaluate_accuracy train_ch7 evaluate_accuracy_gpus "
    "train_ch8 train_epoch_ch8 predict_ch8 load_data_time_machine SeqDataLoader RNNModel RNNModelScratch "
    "bbox_to_rectangle mkdir_if_not_exist semilogy",
}
"""Chapters, and the names that stand in each."""

INSTEAD: dict[str, str] = {
    "SoftmaxRegression": "a d2l.Classifier whose net is nn.Sequential(nn.Flatten(), nn.LazyLinear(num_outputs))",
    "LinearRegression": "a d2l.Module with net = nn.LazyLinear(1) and a loss of your own",
    "SGD": "torch.optim.SGD",
    "sgd": "torch.optim.SGD",
    "load_array": "torch.utils.data.DataLoader(TensorDataset(...), batch_size)",
    "grad_clipping": "d2l.Trainer(..., gradient_clip_val=...)",
    "Benchmark": "d2l.Timer, or convscope bench",
    "resnet18": "convscope.models.create('resnet18', in_channels=1, num_classes=10)",
    "train_ch13": "d2l.Trainer with a d2l.Classifier",
    "train_ch3": "d2l.Trainer with a d2l.Classifier, or d2l.train_ch6",
    "train_ch7": "d2l.Trainer with a d2l.Classifier, or d2l.train_ch6",
    "predict_ch3": "FashionMNIST.visualize with the labels that the model gives",
    "evaluate_accuracy": "d2l.evaluate_accuracy_gpu",
    "download": "convscope.data.load for images, torch.hub.download_url_to_file for other files",
}
"""What serves in their place, here or in PyTorch."""


def missing(name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that is not here.

    Args:
        name: What was asked for.
        known: Every name that is here.

    Returns:
        An ``AttributeError``, ready to be raised.

    Example:
        >>> print(missing("Vocab", []))
        d2l.Vocab belongs to chapter 9, recurrent networks, of the book; convscope.d2l has its convolutional chapters
        only: run that chapter with the book's own d2l, in an environment of its own
        >>> print(missing("train_ch3", []))
        d2l.train_ch3 belongs to an earlier edition of the book; use d2l.Trainer with a d2l.Classifier, or d2l.train_ch6
        >>> print(missing("FashionMINST", ["FashionMNIST"]))
        d2l has no name 'FashionMINST'; did you mean 'FashionMNIST'?
    """
    for chapter, names in CHAPTERS.items():
        if name in names.split():
            where = f"d2l.{name} belongs to {chapter}{', ' if ', ' in chapter else ' '}of the book; "
            if name in INSTEAD:
                return AttributeError(f"{where}use {INSTEAD[name]}")
            return AttributeError(
                f"{where}convscope.d2l has its convolutional chapters only: run that chapter with the book's own d2l, "
                "in an environment of its own"
            )
    near = difflib.get_close_matches(name, list(known), n=3)
    guess = f"did you mean {' or '.join(map(repr, near))}?" if near else "dir(d2l) lists the names that are here"
    return AttributeError(f"d2l has no name {name!r}; {guess}")
