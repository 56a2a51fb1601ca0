"""Questions that language models answer in words of their own, with the answers that people wrote."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from microtome.jobs.data.corpora import Corpus, CorpusSpec, read_documents
from microtome.jobs.data.fractions import sample
from microtome.store.config import Config, Seed
from microtome.store.errors import Absence, AbsentError, InputError
from microtome.store.identity import digest


class Question(NamedTuple):
    """A prompt, and what people wrote in answer to it."""

    prompt: str
    reference: str


class Questions(Config):
    """Questions of a corpus of questions and answers."""

    corpus: CorpusSpec = Field(description="of format xml-qa: each document is a question and its answer")
    count: int = Field(100, ge=1, description="how many of them are asked")
    seed: Seed = Field(0, description="of the draw of the questions")
    template: str = Field(
        "Question: {question}\nAnswer:", description="the prompt; {question} stands for the question"
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.corpus.format != "xml-qa":
            raise ValueError(f"corpus: format: {self.corpus.format} has no questions (xml-qa has)")
        if self.template.count("{question}") != 1:
            raise ValueError("template: {question} stands in it once")
        return self


@dataclass(frozen=True)
class QuestionSource:
    """Questions whose corpus was found, or is known not to be here."""

    settings: Questions
    corpus: Corpus

    @property
    def absence(self) -> Absence | None:
        """Why the questions cannot be read here."""
        return self.corpus.absence

    @property
    def identity(self) -> str:
        """Of the questions that are asked and of how they are asked."""
        settings = self.settings
        return digest([self.corpus.identity, settings.count, settings.seed, settings.template])

    def read(self) -> list[Question]:
        """The questions that are asked, in the order of the corpus. InputError for one without an answer."""
        if self.absence is not None:
            raise AbsentError(self.absence)
        documents = list(read_documents(self.settings.corpus))
        drawn = sample(len(documents), self.settings.count, self.settings.seed)
        return [self._question(documents[number]) for number in sorted(drawn)]

    def _question(self, document: str) -> Question:
        question, _, answer = document.partition("\n")
        if not answer.strip():
            raise InputError(f"{self.settings.corpus.path}: no answer to '{question:.60}'")
        return Question(self.settings.template.replace("{question}", question.strip()), answer.strip())
