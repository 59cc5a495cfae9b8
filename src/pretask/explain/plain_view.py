"""The part of a classifier that answers for the untransformed image alone."""

from __future__ import annotations

import torch

from pretask.methods import Classifier
from pretask.methods.classifier import head_of_columns
from pretask.methods.encoder import Encoder


def plain_view(classifier: Classifier) -> Classifier:
    """Return a classifier of the untransformed image that shares the backbone, its head a part of the given one's.

    A classifier that averages over changed images answers by view 0 alone. Changes of features stay: they do not move
    anything within the image.
    """
    encoder, reading = classifier.encoder, classifier.reading
    if encoder.image_pretext is None or reading in ("plain", "columns"):
        return classifier
    features = () if encoder.feature_pretext is None else (encoder.feature_pretext,)
    alone = Encoder(encoder.backbone, encoder.normalize, features, encoder.layer)
    if reading != "joint":
        return Classifier(alone, classifier.head, reading if features else "plain")
    kept = encoder.feature_views
    rows = torch.arange(classifier.num_classes)[:, None] * encoder.num_labels + torch.arange(kept)
    head = head_of_columns(classifier.head, rows.flatten().to(classifier.head.weight.device))
    return Classifier(alone, head, "joint" if features else "plain")
