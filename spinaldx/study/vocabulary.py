"""Words that hospitals use for sequences, planes and regions, in eight languages.

English, German, French, Spanish, Italian, Portuguese, Chinese and Japanese. Texts
are compared without accents, case and punctuation.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum


class Topic(StrEnum):
    """What a word says about a series."""

    T2 = "T2-weighted"
    T1 = "T1-weighted"
    PROTON = "proton density"
    FLAIR = "FLAIR"
    SUPPRESSED = "fat suppression or STIR"
    DIFFUSION = "diffusion"
    GRADIENT = "gradient echo or susceptibility"
    MYELOGRAPHY = "myelography"
    ANGIOGRAPHY = "angiography or flow"
    CONTRAST = "contrast agent"
    LOCALIZER = "localizer"
    DERIVED = "derived picture"
    SAGITTAL = "sagittal"
    AXIAL = "axial"
    CORONAL = "coronal"
    SPINE = "spine"
    CERVICAL = "cervical spine"
    THORACIC = "thoracic spine"
    LUMBAR = "lumbar spine"
    WHOLE = "whole spine"
    ELSEWHERE = "another body part"
    COMPOSED = "composed of stations"


# Western words match as whole tokens (`#` stands for digits); a word that ends in
# `*` matches the beginning of a token. Chinese and Japanese match anywhere.
_WORDS: dict[Topic, str] = {
    Topic.T2: "t2 t2w t2wi t2tse t2fse t2frfse t2tsesag t2sag sagt2 t2space t2cube "
    "t2vista frfse t2tirm* tset2 fset2",
    Topic.T1: "t1 t1w t1wi t1tse t1fse t1se t1sag sagt1 t1flair mprage spgr fspgr "
    "irspgr bravo t1vibe vibe thrive lava tfl mp2rage",
    Topic.PROTON: "pd pdw dp dpw protonendichte",
    Topic.FLAIR: "flair darkfluid",
    Topic.SUPPRESSED: "stir tirm fs fatsat fatsup* fsat spair spir ideal dixon fettsat* "
    "fettsupp* fettges* satgrasa supgrasa suppressiongraisse satgraisse wfs mdixon "
    "soppressione",
    Topic.DIFFUSION: "dwi dti adc diff diffusion* difusion difusao diffusione trace* "
    "tracew isodwi resolve ivim fa",
    Topic.GRADIENT: "t2star t2* swi swan medic merge gre ffe fieldmap t2starw "
    "epi bold megre",
    Topic.MYELOGRAPHY: "myelo* mielo* haste myelography",
    Topic.ANGIOGRAPHY: "tof mra angio* pca phasecontrast flow fluss cineflow csfflow",
    Topic.CONTRAST: "gd gad gado* post postcontrast km ce kontrastmittel contraste "
    "contrasto mdc pc avecgado civ dotarem gadovist injected apresgado",
    Topic.LOCALIZER: "loc localizer localiser localizador localizzatore scout survey "
    "scano* 3plane threeplane topogram* ubersicht* reperage reperes pilot plan* "
    "localisateur centrador localizacao smartbrain",
    Topic.DERIVED: "sub subtr* subtraction subtraktion sustraccion soustraction "
    "sottrazione mip mpr minip proj projection recon reformat* screenshot capture "
    "screen map phase pha report dose bild presentation",
    Topic.SAGITTAL: "sag sagittal* sagital* sg sagitt* sagittale",
    Topic.AXIAL: "ax axial* axi tra trans transvers* transversal* tr assial* ejeaxial "
    "axiale",
    Topic.CORONAL: "cor coronal* kor koronar* frontal* coronale",
    Topic.SPINE: "spine spinal* ws wirbels* colonne columna coluna colonna rachis "
    "medull* medula midollo myelon ruckenmark cord moelle rachide vertebral*",
    Topic.CERVICAL: "cspine cervical* cerv hws halswirbel* cervicale csp kws rachiscervical "
    "c cervico* neck",
    Topic.THORACIC: "tspine thoracic* thor thorak* bws brustwirbel* dorsal* dors toracic* "
    "toraci* dorso* thoracique tsp dorsale t",
    Topic.LUMBAR: "lspine lumb* lws lendenwirbel* lombaire* lombo* lumbo* lombar* lsp "
    "conus l ls lssp",
    Topic.WHOLE: "wholespine whole total totalspine ganze gws gesamt* completa complete "
    "fullspine panspine rachisentier colunatotal",
    Topic.ELSEWHERE: "brain head schadel kopf cerebr* craneo cranio* encefalo cerveau "
    "crane hirn knee knie genou rodilla ginocchio joelho hip hufte hanche cadera shoulder "
    "schulter epaule hombro spalla ombro abdomen liver leber pelvis becken prostat* "
    "breast mamma chest thorax heart herz cardiac* ankle foot hand wrist orbit* pituit* "
    "hypophys* iac",
    Topic.COMPOSED: "composed composing compose comp merged stitch* mobiview pasted fused "
    "mosaiced",
}
_EASTERN: dict[Topic, tuple[str, ...]] = {
    Topic.T2: ("T2加权", "T2強調"),
    Topic.T1: ("T1加权", "T1強調"),
    Topic.SUPPRESSED: ("压脂", "抑脂", "脂肪抑制", "壓脂"),
    Topic.DIFFUSION: ("弥散", "扩散", "拡散", "彌散"),
    Topic.CONTRAST: ("增强", "造影", "增強"),
    Topic.LOCALIZER: ("定位", "位置決め", "位置决め"),
    Topic.SAGITTAL: ("矢状", "矢狀"),
    Topic.AXIAL: ("横断", "轴位", "轴状", "横轴", "軸位", "水平断"),
    Topic.CORONAL: ("冠状", "冠狀"),
    Topic.SPINE: ("脊柱", "脊髓", "脊椎", "脊髄", "椎"),
    Topic.CERVICAL: ("颈椎", "頸椎", "颈髓", "頸髄", "颈段"),
    Topic.THORACIC: ("胸椎", "胸髓", "胸髄", "胸段"),
    Topic.LUMBAR: ("腰椎", "腰髓", "腰段", "腰骶"),
    Topic.WHOLE: ("全脊柱", "全脊椎", "全脊髓"),
    Topic.ELSEWHERE: ("颅脑", "头部", "頭部", "脑", "膝", "髋", "肩", "腹部", "盆腔"),
    Topic.MYELOGRAPHY: ("水成像", "脊髓造影", "ミエロ"),
}

_BIDS_ENTITIES = re.compile(r"^sub-[A-Za-z0-9]+(?=_|$)|(?<=_)ses-[A-Za-z0-9]+(?=_|$)")

# Single letters mean a region only beside other words about the spine.
_LETTERS = {"c": Topic.CERVICAL, "t": Topic.THORACIC, "l": Topic.LUMBAR}


@functools.cache
def _tables() -> tuple[dict[str, set[Topic]], tuple[tuple[str, Topic], ...]]:
    exact: dict[str, set[Topic]] = {}
    beginnings = []
    for topic, words in _WORDS.items():
        for word in words.split():
            if word.endswith("*") and word != "t2*":
                beginnings.append((word[:-1], topic))
            elif word not in _LETTERS:
                exact.setdefault(word, set()).add(topic)
    return exact, tuple(beginnings)


def tokens_of(text: str) -> list[str]:
    """Split a text into plain lower-case words.

    Accents fall away, `T2*` becomes `t2star`, letters and digits that stand apart
    (`T2 w`, `C-Spine`) stay apart.
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"(?i)t2\s*[_-]?\*", "t2star", plain.replace("ß", "ss"))
    plain = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", plain)
    return re.findall(r"[a-z0-9]+|[^\x00-\x7f]+", plain.lower())


def topics_of(text: str) -> frozenset[Topic]:
    """Return all that a description, protocol or file name says."""
    # Who and when, in BIDS's way: `sub` is also a word for a subtraction.
    tokens = tokens_of(_BIDS_ENTITIES.sub(" ", text))
    # Neighbours are read together too: `c spine`, `t2 star`, `3 plane`.
    pairs = [first + second for first, second in itertools.pairwise(tokens)]
    exact, beginnings = _tables()
    found: set[Topic] = set()
    for token in (*tokens, *pairs):
        found |= exact.get(token, set())
        found |= {topic for start, topic in beginnings if token.startswith(start)}
    for topic, words in _EASTERN.items():
        if any(word in text for word in words):
            found.add(topic)
    if found & {Topic.SPINE, Topic.SAGITTAL, Topic.T2}:
        found |= {topic for letter, topic in _LETTERS.items() if letter in tokens}
    return frozenset(found)


_STATIONS = (
    (Topic.WHOLE, "whole"),
    (Topic.CERVICAL, "cervical"),
    (Topic.THORACIC, "thoracic"),
    (Topic.LUMBAR, "lumbar"),
)


def station_of(text: str) -> str:
    """Return the region a text names; empty when none or several."""
    topics = topics_of(text)
    named = [name for topic, name in _STATIONS if topic in topics]
    if "whole" in named:
        return "whole"
    return named[0] if len(named) == 1 else ""


_PLACES = {Topic.SPINE, Topic.CERVICAL, Topic.THORACIC, Topic.LUMBAR, Topic.WHOLE}

_RUN_OR_PART = re.compile(
    r"(?i)(?:^|(?<=[_\-. ]))(?:run|rec|chunk|acq|echo|part|station)[-_]?[a-z0-9]*"
)
# At the start `part_07` is a participant and `rec_smith` may be a patient too.
_RUN = re.compile(
    r"(?i)(?:(?:^|(?<=[_\-. ]))(?:run|chunk|acq|echo|station)"
    r"|(?<=[_\-. ])(?:rec|part))[-_]?[a-z0-9]*"
)


# A name that begins with one of these words and a number, or in BIDS's way, says who.
_IDENTITY = re.compile(
    r"(?:sub-|(?:sub|subj|subject|pat|patient|pt|p|case|id)[-_ ]?(?=\d))0*([a-z0-9]+)"
)
# Words at the start of one patient's files that are no names: sides, postures,
# visits, and what programs call an image or make of it.
_NO_NAMES = (
    "left right links rechts upper lower top bottom oben unten superior inferior mid "
    "middle anterior posterior neutral flexion extension supine prone standing "
    "baseline followup follow visit session first second third new old pre before "
    "after control repeat again motion best good bad raw orig original source anat "
    "anatomical mean average avg native clean cleaned final crop cropped reg registered "
    "warped resampled resliced denoised corrected bias biascorr defaced anon anonymized "
    "anonymised normalized normalised filtered smoothed converted output input result "
    "sequence series serie scan image img volume vol file data dicom nifti with without "
    "high low thick thin fast slow turbo spin echo siemens philips canon hitachi toshiba "
    "study exam acquisition reference ref template patient subject unnamed unknown test"
)


def look_like_patients(stems: Sequence[str]) -> bool:
    """Whether names of files in one folder seem to be of several patients.

    They do where two begin with different identities (`sub-01`, `sub-02`), or where
    two say the same about the series, begin with a word that says nothing about it,
    and share no such word (`smith_T2w`, `jones_cervical_T2w`). Bare numbers do not
    count: they number series too.
    """
    begun = [_IDENTITY.match(stem.lower()) for stem in stems]
    if len({found[1] for found in begun if found}) > 1:
        return True
    named: dict[frozenset[Topic], list[set[str]]] = {}
    for stem in stems:
        words = _names_in(stem)
        if words:
            kind = topics_of(stem) - _PLACES
            named.setdefault(kind, []).append(words)
    return any(
        one.isdisjoint(two)
        for group in named.values()
        for one, two in itertools.combinations(group, 2)
    )


def _names_in(stem: str) -> set[str]:
    """Return words that may be names; none where the first word is no name."""
    tokens = tokens_of(_RUN.sub("", stem))
    names = [token for token in tokens if _may_be_name(token)]
    return set(names) if names and names[0] == tokens[0] else set()


def _may_be_name(token: str) -> bool:
    no_names = _NO_NAMES.split()
    # `scanB` and `images` are no names either.
    is_plain = token in no_names or token[:-1] in no_names
    is_word = len(token) > 2 and token.isalpha() and not is_plain
    return is_word and not topics_of(token) and bool(patient_part(token))


def patient_part(stem: str, *, with_group: bool = True) -> str:
    """Return what is left of a file name without words about the series.

    `sub-01_acq-cerv_run-2_T2w` and `sub-01_T1w` both give `01`: one patient. `C_01`
    and `T_01` are two, a control and a tumour as likely as two regions of one.

    Args:
        stem: File name without suffix.
        with_group: Whether a letter in front of a number is part of it, and `part` or
            `rec` at the start says who.
    """
    tokens = tokens_of((_RUN if with_group else _RUN_OR_PART).sub("", stem))
    is_numbered = len(tokens) > 1 and tokens[1].isdecimal()
    is_group = with_group and is_numbered and tokens[0] in _LETTERS
    front = tokens[:1] if is_group else []
    exact, beginnings = _tables()
    left = [
        token
        for token in tokens[len(front) :]
        if token not in exact
        and token not in _LETTERS
        and token
        not in {"w", "wi", "tse", "fse", "mri", "mr", "nii", "iso", "2d", "3d"}
        and not any(token.startswith(start) for start, _ in beginnings)
    ]
    return "-".join([*front, *left])
