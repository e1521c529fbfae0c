"""Construction of the filter chain from the settings."""

from collections.abc import Iterable, Sequence

from textgen.config import FilterSettings, RecipeSettings
from textgen.filters.assistant_talk import AssistantTalk
from textgen.filters.chain import Stage
from textgen.filters.clip_tokens import ClipTokens, require_clip
from textgen.filters.duplicates import ExactDuplicates, NearDuplicates
from textgen.filters.language import Language
from textgen.filters.length import Length
from textgen.filters.markup import Markup
from textgen.filters.overlap import Overlap
from textgen.filters.overused import OverusedNgrams
from textgen.filters.prompt_leaks import PromptLeaks
from textgen.filters.recipe_checks import FieldsAgree, KeywordsPresent
from textgen.filters.repetition import Repetition
from textgen.filters.truncated import Truncated
from textgen.filters.words import Lexicon


def build_chain(
    settings: FilterSettings,
    recipe: RecipeSettings,
    *,
    instructions: str,
    examples: Sequence[str],
    references: Iterable[str],
    evaluation: Iterable[str],
) -> list[Stage]:
    """Build the stages for the settings and the recipe, in the order they run.

    Args:
        settings: settings of the filters; None or false turns a stage off.
        recipe: settings of the recipe.
        instructions: the template's own words, with or without its placeholders.
        examples: in-context examples, which the corpus must not contain.
        references: texts in the wanted style, which limit how often a 4-gram may occur; read when that stage runs.
        evaluation: texts that a model will be scored on, which the corpus must not contain.

    Raises:
        UserError: if there is no word list for the language, or open_clip is needed and not installed.
    """
    # Stages that read one text come first and are cheap. Those that compare texts see what is left: a removed text
    # must not make another one a duplicate or count towards an overused phrase.
    lexicon = Lexicon(settings.language)
    stages: list[Stage] = [Truncated(settings.language), Length(recipe.words)]
    if settings.language is not None:
        stages.append(Language(lexicon, settings.min_known_words))
    if settings.refusals:
        stages.append(AssistantTalk())
    if settings.leaks:
        stages.append(PromptLeaks(instructions, [*recipe.fields, *recipe.keep_columns]))
    if settings.markup:
        stages.append(Markup())
    if settings.repetition:
        stages.append(Repetition())
    if recipe.keywords_present != "none":
        stages.append(KeywordsPresent(lexicon, every=recipe.keywords_present == "all"))
    if recipe.must_contain or recipe.must_differ:
        stages.append(FieldsAgree(recipe.must_contain, recipe.must_differ))
    if settings.clip_tokens is not None:
        require_clip()
        stages.append(ClipTokens(settings.clip_tokens))
    example_texts, evaluation_texts = list(examples), [] if settings.evaluation_overlap is None else list(evaluation)
    if example_texts or evaluation_texts:
        stages.append(Overlap(example_texts, evaluation_texts, settings.evaluation_overlap))
    if settings.exact_duplicates:
        stages.append(ExactDuplicates())
    if settings.near_duplicates is not None:
        stages.append(NearDuplicates(settings.near_duplicates))
    if settings.overused_share is not None:
        stages.append(
            OverusedNgrams(
                references,
                share=settings.overused_share,
                factor=settings.overused_factor,
                min_count=settings.overused_min_count,
            )
        )
    return stages
