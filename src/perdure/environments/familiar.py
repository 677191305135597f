"""Packages that people mean when they type something else: near misses, without asking an index."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from perdure.environments.manifest import normalised

# What is imported by another name than it is installed by.
INSTALLED_AS: Mapping[str, str] = MappingProxyType(
    {
        "attr": "attrs",
        "bs4": "beautifulsoup4",
        "crypto": "pycryptodome",
        "cv2": "opencv-python-headless",
        "dateutil": "python-dateutil",
        "dotenv": "python-dotenv",
        "fitz": "pymupdf",
        "git": "gitpython",
        "imblearn": "imbalanced-learn",
        "lightning-fabric": "lightning",
        "mpl-toolkits": "matplotlib",
        "pil": "pillow",
        "pytorch": "torch",
        "skimage": "scikit-image",
        "sklearn": "scikit-learn",
        "tensorboardx": "tensorboard",
        "umap": "umap-learn",
        "yaml": "pyyaml",
    }
)

_NAMES = """
    accelerate albumentations altair anndata arviz attrs bayesian-optimization beautifulsoup4
    biopython bitsandbytes black bokeh boto3 catboost click cloudpickle cupy cython dash dask
    datasets deepspeed diffusers dvc einops evaluate faiss-cpu fastapi filelock fire flask flax
    fsspec gensim geopandas gitpython gpytorch gradio gymnasium h5py hdbscan httpx
    huggingface-hub hydra-core hypothesis imageio imbalanced-learn ipykernel ipython ipywidgets
    jax jaxlib jinja2 joblib jupyter jupyterlab keras kornia librosa lightgbm lightning lmdb
    loguru lxml markupsafe matplotlib mlflow monai msgpack msgspec multiprocess mypy nibabel
    nltk numba numpy omegaconf onnx onnxruntime opencv-python opencv-python-headless openpyxl
    optax optuna orjson orbax-checkpoint packaging pandas peft pillow plotly polars pooch pot
    pre-commit protobuf psutil pyarrow pycocotools pydantic pymc pyro-ppl pytest pytest-cov
    python-dateutil python-dotenv pytorch-lightning pyyaml ray rdkit regex requests rich ruff
    s3fs sacrebleu safetensors scanpy scikit-image scikit-learn scipy seaborn
    sentence-transformers sentencepiece setuptools shap six skorch soundfile spacy sqlalchemy
    stable-baselines3 statsmodels streamlit sympy tabulate tensorboard tensorflow tiktoken timm
    tokenizers torch torch-geometric torchaudio torchdata torchmetrics torchvision tqdm
    transformers triton trl typer umap-learn wandb webdataset xarray xgboost xformers xxhash
    zarr
"""
NAMES = frozenset(_NAMES.split())
_CUTOFF = 0.7
_MOST = 3


def near_misses(name: str, others: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the packages that may have been meant by `name`, the nearest first; often none."""
    wanted = normalised(name)
    meant = INSTALLED_AS.get(wanted)
    known = sorted({*NAMES, *others} - {wanted})
    near = difflib.get_close_matches(wanted, known, n=_MOST, cutoff=_CUTOFF)
    return tuple(dict.fromkeys([*([meant] if meant else []), *near]))


def meant(names: Iterable[str], otherwise: str) -> str:
    """Return the hint `did you mean ...?`, or `otherwise` where there are no names."""
    listed = " or ".join(f"`{name}`" for name in names)
    return f"did you mean {listed}?" if listed else otherwise
