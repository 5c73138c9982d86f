"""What every data set has that is iterated over."""

from __future__ import annotations

from tfl.lazy import tf

AHEAD = 4
"""Batches that are read ahead in one pass over a split: TensorFlow's own choice grows, and with it the memory of a long one."""


def steady(data: tf.data.Dataset) -> tf.data.Dataset:
    """`data`, always in the same order, and without TensorFlow's tuning.

    An iterator that is tuned ends only when its tuner wakes up, which sleeps for up to as long as the iterator has run: at the
    end of an epoch that is a wait. Calls that are left to TensorFlow (`AUTOTUNE`) are as many at a time as there are
    processors, which is what tuning comes to where they compute.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return data.with_options(options)
