"""Base classes that make the networks behave like those of `keras.applications`."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers

from .weights import named_layers

AUX_WEIGHT = 0.3  # of each auxiliary head in `fit`: Szegedy et al. 2014, section 5


class Block(layers.Layer):
    """A layer made of layers, which are assigned and built in its constructor."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True

    def compute_output_spec(self, *args: KerasTensor) -> KerasTensor:
        # Through `call` rather than a trace of it, so that the layers inside get nodes too.
        return _like(self.call(*args))


class GraphNetwork(keras.Model):
    """A Keras model defined by its `call`, with a functional graph from construction on.

    The graph is that of inference, for images of any size. All its layers are named by their
    dotted paths and have an `output`, including those inside blocks and those of heads that
    run in training only.

    A subclass's constructor assigns `options`, its arguments, and its layers, and calls
    this one last.
    """

    options: dict[str, Any]

    def __init__(self, **kwargs: Any) -> None:
        if "dtype" in kwargs:  # its layers exist by now, with the dtype of the global policy
            raise ValueError(
                f"dtype={kwargs['dtype']!r}, but networks use the global policy: call "
                "keras.config.set_dtype_policy(…) before building one"
            )
        self.make_graph(**kwargs)

    def make_graph(self, **kwargs: Any) -> None:
        """Make the graph of the layers as they are now; Keras forgets what it compiled before."""
        for path, layer in named_layers(self):
            if path:
                layer.name = path
                layer._inbound_nodes.clear()
                layer._outbound_nodes.clear()
        images = keras.Input((None, None, self.options["in_channels"]), name="images")
        outputs = self.call(images, training=True)  # so that the heads get nodes
        heads_run = self.options.get("return_aux", False)
        super().__init__(images, outputs if heads_run else _logits(outputs), **kwargs)
        # Older versions of Keras keep only the layers of the graph; heads are trained, too. And
        # all versions keep a classifier that has been exchanged.
        own: list[Any] = [layer for path, layer in named_layers(self) if path and "." not in path]
        own += [layer for layer in self.layers if layer not in own]  # the input
        if set(map(id, own)) != set(map(id, vars(self)["_layers"])):
            self._layers = own
        # Names the wrong axis, which the graph's own check doesn't.
        self.input_spec = layers.InputSpec(ndim=4, axes={-1: images.shape[-1]})

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> GraphNetwork:
        """Rebuild a network with the dtype that it was saved with."""
        arguments = dict(config)
        current = keras.config.dtype_policy()
        keras.config.set_dtype_policy(keras.dtype_policies.get(arguments.pop("dtype", current)))
        try:
            return cls(**arguments)
        finally:
            keras.config.set_dtype_policy(current)

    def get_layer(self, name: str | None = None, index: int | None = None) -> layers.Layer:
        """Return a layer by its name, a dotted path such as `b3.0.p2_1.conv`, or its index."""
        found = dict(named_layers(self)).get(name) if name else None
        return super().get_layer(name, index) if found is None else found

    def compute_output_spec(self, x: KerasTensor, training: bool = False) -> Any:
        # Through `call`: the graph doesn't know what the network returns in training.
        return keras.tree.map_structure(_like, self.call(x, training=training))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Add each head's loss to the classifier's, weighted by the loss's `aux_weight` or 0.3.

        Separate labels and losses for each output are left to Keras.
        """
        if not isinstance(y_pred, tuple) or isinstance(y, (tuple, list, dict)):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        logits, *heads = (
            super(GraphNetwork, self).compute_loss(x, y, output, sample_weight, training)
            for output in y_pred
        )
        return logits + getattr(self.loss, "aux_weight", AUX_WEIGHT) * sum(heads)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Compute metrics for the classifier, unless each output has its own labels."""
        y_pred = y_pred if isinstance(y, (tuple, list, dict)) else _logits(y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)


def _like(x: KerasTensor) -> KerasTensor:
    """Return a symbolic tensor shaped like `x` that no layer has produced."""
    return KerasTensor(x.shape, x.dtype)


def _logits(outputs: Any) -> Any:
    """Return the classifier's output, the first of a network's outputs."""
    return outputs[0] if isinstance(outputs, tuple) else outputs
