"""One epoch of training and its evaluation with Keras on TensorFlow; prints the seconds as JSON."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from _peer import asked, timed
from keras import layers


def read(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images in 0..1 ``(N, H, W, 1)`` and labels ``(N,)`` of an IDX pair."""
    images = gzip.decompress((folder / f"{split}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{split}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return pixels.astype("float32") / 255, np.frombuffer(labels, np.uint8, offset=8).astype("int64")


def main() -> None:
    """Time ``Model.fit`` with validation data, as Keras' own examples train."""
    words = asked()
    tf.config.threading.set_intra_op_parallelism_threads(words.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)  # its own choice takes a third longer on two cores
    folder = Path(words.data) / "FashionMNIST" / "raw"
    (x, y), held = read(folder, "train"), read(folder, "t10k")
    if words.images:
        x, y = x[: words.images], y[: words.images]
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(layers.Conv2D(6, 5, padding="same", activation="sigmoid"), layers.AveragePooling2D(2)),
            *(layers.Conv2D(16, 5, activation="sigmoid"), layers.AveragePooling2D(2), layers.Flatten()),
            *(layers.Dense(120, activation="sigmoid"), layers.Dense(84, activation="sigmoid"), layers.Dense(10)),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    timed(
        lambda: model.fit(x, y, batch_size=128, epochs=1, validation_data=held, verbose=0),
        name="keras/tensorflow",
        version=f"{keras.__version__}/{tf.__version__}",
    )


main()
