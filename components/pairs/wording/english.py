"""English: sentence shapes and grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence

from components.pairs.glossary import IMAGE_NAMES, MODALITY_NAMES, PLANE_NAMES, is_counted, plural
from components.pairs.wording.language import Wording, grid_place
from components.records import NOT_STATED, Box

FINDINGS = ("tumour", "tumor", "lesion", "cyst", "nodule", "fibroma", "cancer", "microaneurysm", "effusion")
PLACES = (
    ("upper left", "upper central", "upper right"),
    ("left", "central", "right"),
    ("lower left", "lower central", "lower right"),
)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

SHAPES: dict[str, tuple[str, ...]] = {
    # ---- closed questions
    "yes_no": ("Answer yes or no.", "Reply with yes or no.", "Please answer yes or no.", "Yes or no?"),
    "choices": (
        "Choose from: {options}.", "Options: {options}.", "Answer with one of: {options}.",
        "Pick one: {options}.", "Possible answers: {options}.",
    ),
    "presence_question": (
        "Is {thing} visible in this image?", "Does this image show {thing}?", "Can {thing} be seen here?",
        "Is {thing} present in the image?", "Do you see {thing} in this image?", "Is {thing} in view?",
        "Does the picture contain {thing}?", "Looking at the image, can you find {thing}?",
        "Is any part of {thing} included in this image?", "Would you say that {thing} is shown here?",
    ),
    "absence_question": (
        "Is {thing} missing from this image?", "Is {thing} absent from the image?",
        "Is it true that the image does not show {thing}?", "Does {thing} lie outside this image?",
    ),
    "count_question": (
        "How many {things} are visible in this image?", "Count the {things} in the image.",
        "What is the number of {things} shown here?", "How many {things} does the image contain?",
        "How many {things} can be seen?", "Give the number of {things} in view.",
        "How many {things} are there in this picture?", "Please count the {things} that you see.",
    ),
    "side_question": (
        "On which side of the patient is the {label} seen here?", "Which side does the visible {label} belong to?",
        "Is the {label} in this image the left or the right one?", "Which {label} is shown, left or right?",
        "Name the patient's side of the {label} in this image.", "The {label} shown here is on which side?",
        "From the patient's point of view, which side is the {label} on?",
        "To which side of the body does the {label} in the image belong?",
    ),
    "plane_question": (
        "In which plane is this image taken?", "What is the imaging plane?", "Which anatomical plane is shown?",
        "What plane does this slice lie in?", "Which section plane is this?", "Name the plane of this slice.",
        "How is this slice oriented?", "What is the orientation of this slice?",
        "Which plane was the image cut in?",
    ),
    "modality_question": (
        "Which imaging modality is this?", "What modality was used to take this image?",
        "How was this image acquired?", "Name the imaging technique.", "What type of medical image is shown?",
        "Which kind of imaging produced this picture?", "What is the modality of this image?",
        "By which imaging method was this obtained?", "Identify the imaging modality.",
    ),
    "organ_question": (
        "Which part of the body does this image show?", "What body part is imaged?", "What is shown here?",
        "Which anatomical region is depicted?", "Name the body part in this image.",
        "What region of the body is this?", "Which body part was examined?", "Identify the anatomical region.",
    ),
    "structure_question": (
        "Which of these is visible in the image?", "Which of the following structures is shown?",
        "Only one of these can be seen here. Which one?", "Which structure from the list appears in this image?",
        "Name the one that the image contains.", "Which of these does the picture show?",
        "One of these is in view. Which?", "Which of the listed structures is present?",
    ),
    "largest_question": (
        "Which of these covers the largest area in this image?", "Which of these structures looks largest here?",
        "Which of the following takes up most of the image?", "Name the largest of these in the image.",
        "Which one occupies the biggest area in this picture?", "Of these, which has the largest cross-section?",
        "Which of the listed structures is the largest in this view?", "Which of these fills the most space here?",
    ),
    "region_question": (
        "What is inside {box}?", "Which structure does {box} mark?", "Name the structure in {box}.",
        "What does the region {box} show?", "Identify the structure inside {box}.",
        "Which label fits the region {box}?", "The region {box} contains which structure?",
        "What can be found in {box}?",
    ),
    "stated_question": (
        "What is the {name} of this image?", "Which {name} is this?", "Name the {name}.",
        "Which {name} applies to this image?", "Identify the {name} of the image.",
        "What {name} does this image have?",
        "Which {name} does the picture show?", "State the {name}.",
    ),
    # ---- captions
    "caption_question": (
        "Describe this image.", "Write a caption for this image.", "What does this image show?",
        "Give a short description of the image.", "Summarise what can be seen.", "Please caption this image.",
        "Explain what is shown in this picture.", "Provide a description of this medical image.",
        "Tell me what you see.", "What can be seen in this image?",
    ),
    "opening": (
        "this is {image} of the {part}.", "{image} of the {part}.", "The image is {image} of the {part}.",
        "Shown here is {image} of the {part}.", "We see {image} of the {part}.",
        "The picture is {image} that shows the {part}.",
    ),
    "opening_bare": (
        "this is {image}.", "The image is {image}.", "Shown here is {image}.", "{image}.", "We see {image}.",
        "The picture is {image}.",
    ),
    "contents": (
        "It shows {things}.", "It contains {things}.", "Visible here: {things}.", "One can see {things}.",
        "The annotated content is {things}.", "In view: {things}.",
    ),
    "placed": (
        "{thing} lies in the {place} part of the image.", "{thing} is in the {place} part of the image.",
        "{thing} is found in the {place} part of the image.", "{thing} occupies the {place} part of the image.",
        "In the {place} part of the image lies {thing}.", "The {place} part of the image shows {thing}.",
    ),
    "largest": (
        "The largest area belongs to {thing}.", "{thing} covers the largest area.",
        "{thing} takes up the most space.", "By area, {thing} comes first.",
        "{thing} has the largest cross-section.", "The largest of the labelled areas is {thing}.",
    ),
    "absent": (
        "{thing} is not visible.", "{thing} cannot be seen.", "{thing} is not shown.",
        "{thing} is absent from this view.", "There is no sign of {thing}.", "It does not show {thing}.",
    ),
    "stated": (
        "The {name} is {value}.", "{name}: {value}.", "Its {name} is {value}.",
        "The image has the {name} {value}.",
        "As to the {name}, it is {value}.", "The stated {name} is {value}.",
    ),
    # ---- regions
    "describe_region_question": (
        "Describe the region {referred}.", "What does {referred} look like?", "Tell me about {referred}.",
        "Write a caption for the region {referred}.", "Explain what {referred} shows.",
        "Give a description of {referred}.", "Please describe {referred} in this image.",
        "What can be said of {referred}?",
    ),
    "region": (
        "This region shows {thing}.", "This region contains {thing}.", "This region corresponds to {thing}.",
        "This region is {thing}.", "This region outlines {thing}.", "This region belongs to {thing}.",
    ),
    "region_place": (
        "It lies in the {place} part of the image.", "It is in the {place} part of the image.",
        "Its centre is in the {place} part of the image.", "It sits in the {place} part of the image.",
        "It occupies the {place} part of the image.", "It is found in the {place} part of the image.",
    ),
    "region_share": (
        "It covers about {share} % of the image.", "About {share} % of the image belongs to it.",
        "Its area is about {share} % of the image.", "It takes up about {share} % of the picture.",
        "Roughly {share} % of the image is covered by it.", "It fills about {share} % of the view.",
    ),
    "box_question": (
        "Where is {thing}? Give its box.", "Locate {thing} with a bounding box.", "Draw a box around {thing}.",
        "Give the coordinates of {thing}.", "Find {thing} and return its box.",
        "Mark {thing} with a bounding box.", "What is the bounding box of {thing}?",
        "Please localise {thing} in this image.",
    ),
    "box_answer": ("{referred}",),
    # ---- instructions
    "overview_question": (
        "What kind of image is this, and what does it show?", "Explain which type of image this is.",
        "Introduce this image to a student.", "How would you characterise this image?",
        "What should I know about this image before reading it?", "Tell me the type and the content of the image.",
        "Which examination is this and what is in view?", "Please interpret the type of this image.",
    ),
    "findings_question": (
        "Which structures can be identified?", "List the structures that are visible.",
        "What structures do you recognise?", "Name everything that is labelled in this image.",
        "Which structures appear in this view?", "Give me the visible structures.",
        "What is there to see in this image?", "Enumerate what the image contains.",
    ),
    "location_question": (
        "Where does {thing} lie in this image?", "In which part of the image is {thing}?",
        "Describe the position of {thing}.", "Whereabouts is {thing} in the picture?",
        "How would you describe the location of {thing}?", "Tell me where {thing} is.",
        "Point out in words where {thing} is.", "Which part of the image holds {thing}?",
    ),
    "size_question": (
        "How large does {thing} appear in this image?", "What share of the image does {thing} cover?",
        "Estimate the size of {thing}.", "How much of the picture does {thing} take up?",
        "How big is {thing} in this view?", "Give the approximate area of {thing}.",
        "What is the extent of {thing} here?", "Assess the size of {thing} in the image.",
    ),
    "size": (
        "{thing} covers about {share} % of the image.", "About {share} % of the image belongs to {thing}.",
        "The area of {thing} is about {share} % of the image.", "{thing} takes up about {share} % of the picture.",
        "Roughly {share} % of the image is covered by {thing}.", "{thing} fills about {share} % of the view.",
    ),
    "measured": (
        "That is about {area} cm² in the patient.", "In the patient this is about {area} cm².",
        "This corresponds to about {area} cm².", "Measured in the body, that is about {area} cm².",
        "By the pixel spacing, about {area} cm².", "The true area is about {area} cm².",
    ),
    "relation_question": (
        "How do {first} and {second} lie to each other in the image?",
        "What is the position of {first} relative to {second}?", "Compare the positions of {first} and {second}.",
        "Where is {first} with respect to {second}?", "Describe how {first} is placed against {second}.",
        "Relative to {second}, where does {first} appear?", "Which way from {second} is {first}?",
        "State the spatial relation of {first} and {second}.",
    ),
    "relation": (
        "In the image, {first} lies {relation} {second}.", "{first} is {relation} {second} as displayed.",
        "As displayed, {first} appears {relation} {second}.", "{first} can be found {relation} {second}.",
        "{first} is seen {relation} {second}.", "On the screen, {first} is {relation} {second}.",
    ),
    "why_largest_question": (
        "Which structure dominates this image, and by how much?", "What is the largest structure, and why?",
        "Which labelled structure is largest? Explain.", "Compare the sizes: which structure comes first?",
        "What takes up most of this view? Give the figures.", "Which structure has the largest area? Justify it.",
        "Rank the structures: which is largest?", "Name the largest structure and compare it with the next.",
    ),
    "why_largest": (
        "{largest_sentence} It takes about {share} % of the image; next comes {next}, with about {next_share} %.",
        "{largest_sentence} About {share} % of the image is its, against about {next_share} % for {next}.",
        "{largest_sentence} The figures: about {share} %, and about {next_share} % for {next}.",
        "{largest_sentence} It fills about {share} %, while {next} fills about {next_share} %.",
        "{largest_sentence} Its share is about {share} %; that of {next} is about {next_share} %.",
        "{largest_sentence} Compare about {share} % with about {next_share} % for {next}.",
    ),
    "absence_reason_question": (
        "Is {thing} part of this view? Explain.", "Could you point out {thing}?",
        "Show me {thing}, if it is there.",
        "Does this view include {thing}? Say why.", "I am looking for {thing}. Is it here?",
        "Can one assess {thing} on this image?", "Would this image help to judge {thing}? Explain.",
        "Please comment on {thing} in this image.",
    ),
    "absence_reason": (
        "{absence_sentence} What can be seen: {things}.", "{absence_sentence} The image shows {things}.",
        "{absence_sentence} In view are {things}.", "{absence_sentence} Instead, it shows {things}.",
        "{absence_sentence} The visible structures are {things}.", "{absence_sentence} The view holds {things}.",
    ),
    "counted": (
        "There are {number} {things} in the image.", "The image shows {number} {things}.",
        "{number} {things} are visible.", "I count {number} {things}.", "One can count {number} {things}.",
        "In total there are {number} {things}.",
    ),
    # ---- comparisons
    "compare_texture_question": (
        "Do these two images show {statement}?", "Compare the two images: {statement}?",
        "Is it {statement} in both images?", "Would you say the two images have {statement}?",
        "Looking at both images, is there {statement}?", "Decide whether both images show {statement}.",
        "Do the first and the second image have {statement}?", "Are these two images alike, with {statement}?",
    ),
    "which_image_question": (
        "Which of the two images shows {thing}?", "In which image can {thing} be seen?",
        "{thing} is visible in only one of these images. Which one?", "Which image contains {thing}?",
        "Point to the image with {thing}.", "Find {thing}: in which of the two images is it?",
        "One of the images shows {thing}. Which?", "Which picture includes {thing}?",
    ),
    "which_more_question": (
        "Which of the two images has more {things}?", "In which image are there more {things}?",
        "Compare the number of {things}: which image has more?",
        "Which image shows the greater number of {things}?",
        "Count the {things} in both images. Which has more?", "Which picture contains more {things}?",
        "More {things} are in which image?", "Where do you count more {things}?",
    ),
    # ---- a source's own words
    "report_question": (
        "Write a report for this image.", "Give the radiological report.", "Report the findings.",
        "Please write up this examination.", "Compose a report of what the image shows.",
        "Draft the report for this study.", "What would the report of this image say?", "Provide a report.",
    ),
}  # fmt: skip
RELATIONS = {"leftward": "to the left of", "rightward": "to the right of"}


PLURAL = r"(?:left |right )?(?:[a-z]+ ){0,2}?[a-z]*(?:[^aius\W]s|nuclei|vertebrae)"
VERBS = {
    "is": "are", "lies": "lie", "occupies": "occupy", "covers": "cover", "takes": "take", "fills": "fill",
    "has": "have", "appears": "appear", "comes": "come", "does": "do",
}  # fmt: skip
SUBJECT_FIRST = re.compile(rf"(?<!of )(?<!from )\b([Tt]he {PLURAL}) ({'|'.join(VERBS)})\b")
VERB_FIRST = re.compile(rf"(?<!region )\b(is|does|lies|comes) (the {PLURAL})(?=[ ?.,:;]|$)", re.IGNORECASE)


def agreed(text: str) -> str:
    """Make verbs agree with labels that are plurals: "the ribs is" becomes "the ribs are"."""
    text = SUBJECT_FIRST.sub(lambda match: f"{match[1]} {VERBS[match[2]]}", text)
    return VERB_FIRST.sub(lambda match: f"{_like(VERBS[match[1].lower()], match[1])} {match[2]}", text)


def _like(verb: str, model: str) -> str:
    return verb.capitalize() if model[:1].isupper() else verb


def term(label: str) -> str:
    """Return the term as it is written in the records; only names of relations differ."""
    return RELATIONS.get(label, label)


def with_article(words: str) -> str:
    """Put "a" or "an" before some words, by their sound."""
    sounds_like_vowel = words[:1].lower() in "aeiou" or words.startswith(("MR", "X-ray", "H&E"))
    return f"{'an' if sounds_like_vowel else 'a'} {words}"


def thing(label: str, side: str = "") -> str:
    """Name a label with its article and, if given, the patient's side."""
    words = f"{side} {label}" if side in ("left", "right") else label
    is_finding = any(word in label for word in FINDINGS) and is_counted(label) and plural(label) != label
    return with_article(words) if is_finding else f"the {words}"


def named(label: str, side: str = "") -> str:
    """Name one known object, always definite."""
    return f"the {side} {label}" if side in ("left", "right") else f"the {label}"


def number(count: int) -> str:
    """Write a count in words up to ten."""
    return NUMBERS[count] if 0 < count < len(NUMBERS) else str(count)


def several(label: str, sides: Sequence[str], count: int) -> str:
    """Name what is known of a label's objects: side, both sides, or their number."""
    if tuple(sides) == ("left", "right"):
        return f"the left and right {label}"
    if len(sides) == 1 or not sides or not is_counted(label):
        return thing(label, sides[0] if len(set(sides)) == 1 else "")
    return f"{number(count)} {plural(label)}" if count else plural(label)


def image(modality: str, plane: str) -> str:
    """Name a kind of image with its article: "an axial CT image"."""
    words = IMAGE_NAMES[modality][0]
    words = words.replace("fundus photography", "fundus photograph")
    words = words if words.endswith("photograph") else f"{words} image"
    return with_article(f"{PLANE_NAMES[plane][0]} {words}" if plane != NOT_STATED else words)


def modality_name(modality: str) -> str:
    """Name a modality."""
    return MODALITY_NAMES[modality][0]


def joined(items: Sequence[str]) -> str:
    """Join items as a sentence does."""
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else "".join(items)


def place(box: Box) -> str:
    """Name the part of the image that holds a box's centre, in image terms."""
    row, column = grid_place(box)
    return PLACES[row][column]


WORDING = Wording(
    language="en", shapes=SHAPES, yes="yes", no="no", sides={"left": "left", "right": "right"}, term=term,
    thing=thing, named=named, several=several, image=image, modality=modality_name, joined=joined,
    listed=", ".join, place=place, separator=" ",
    finished=agreed,
)  # fmt: skip
