/* coach_commands.c: the words that are understood without a model.
 *
 * A command is the whole message, politeness aside ("plan please"); done and change may have any words behind them.
 * Everybody may use the English words that the coach tells of, so these say nothing of the language; those of other
 * languages do.  Another language's "done" is also an ordinary word, so there a question is none. */
#include "analyze/coach.h"
#include "analyze/phrases.h"

#include <string.h>

struct command_phrase {
    enum command_kind kind;
    const char *language;               /* NULL: everybody's */
    const char *words[24];              /* plain (words.h), without accents as well where people leave them out */
};

static const struct command_phrase whole_phrases[] = {
    { COMMAND_PLAN,
      NULL,
      { "plan", "the plan", "my plan", "show plan", "show the plan", "show me the plan", "send the plan",
        "plan again" } },
    { COMMAND_PLAN, "de", { "der plan", "den plan", "mein plan", "zeig mir den plan", "zeig den plan" } },
    { COMMAND_PLAN, "es", { "el plan", "mi plan" } },
    { COMMAND_PLAN, "fr", { "le plan", "mon plan" } },
    { COMMAND_PLAN, "pt", { "plano", "o plano", "meu plano" } },
    { COMMAND_PLAN, "it", { "piano", "il piano", "il mio piano" } },
    { COMMAND_PLAN, "tr", { "planı", "planım", "planı göster" } },
    { COMMAND_PLAN, "ar", { "خطة", "الخطة", "خطتي" } },
    { COMMAND_PLAN, "hi", { "योजना", "प्लान", "मेरी योजना" } },
    { COMMAND_NEXT,
      NULL,
      { "next", "next meeting", "my next meeting", "whats next", "what is next", "next one", "upcoming",
        "next meetings" } },
    { COMMAND_NEXT,
      "de",
      { "nächster", "nächstes", "nächster termin", "nächstes meeting", "was kommt als nächstes", "naechster termin",
        "termine", "als nächstes" } },
    { COMMAND_NEXT,
      "es",
      { "siguiente", "próximo", "próxima", "próxima reunión", "proximo", "proxima", "proxima reunion",
        "siguiente reunión" } },
    { COMMAND_NEXT,
      "fr",
      { "suivant", "prochain", "prochaine réunion", "prochain rendez vous", "prochaine reunion", "le suivant" } },
    { COMMAND_NEXT, "pt", { "seguinte", "próxima reunião", "proxima reuniao", "reunião seguinte" } },
    { COMMAND_NEXT, "it", { "prossimo", "prossima", "prossimo incontro", "prossima riunione" } },
    { COMMAND_NEXT, "tr", { "sonraki", "sıradaki", "sonraki toplantı", "siradaki" } },
    { COMMAND_NEXT, "ar", { "التالي", "القادم", "الاجتماع التالي", "الاجتماع القادم" } },
    { COMMAND_NEXT, "hi", { "अगला", "अगली", "अगली बैठक", "अगली मीटिंग" } },
    { COMMAND_HELP, NULL, { "help", "help me", "commands", "menu" } },
    { COMMAND_HELP, "de", { "hilfe", "befehle" } },
    { COMMAND_HELP, "es", { "ayuda" } },
    { COMMAND_HELP, "fr", { "aide" } },
    { COMMAND_HELP, "pt", { "ajuda" } },
    { COMMAND_HELP, "it", { "aiuto" } },
    { COMMAND_HELP, "tr", { "yardım", "yardim" } },
    { COMMAND_HELP, "ar", { "مساعدة", "مساعده" } },
    { COMMAND_HELP, "hi", { "मदद", "सहायता" } },
    { COMMAND_STOP, NULL, { "stop" } },
    { COMMAND_STOP, "de", { "stopp", "aufhören", "aufhoeren" } },
    { COMMAND_STOP, "es", { "parar", "alto" } },
    { COMMAND_STOP, "fr", { "arrêt", "arrêter", "arret", "arreter" } },
    { COMMAND_STOP, "pt", { "pare" } },
    { COMMAND_STOP, "it", { "basta", "ferma" } },
    { COMMAND_STOP, "tr", { "dur", "durdur" } },
    { COMMAND_STOP, "ar", { "توقف", "قف", "أوقف" } },
    { COMMAND_STOP, "hi", { "रुको", "बंद", "बंद करो" } },
    { COMMAND_UNSUBSCRIBE,
      NULL,
      { "unsubscribe", "stopall", "stop all", "stop messages", "no more messages", "optout", "opt out" } },
    { COMMAND_UNSUBSCRIBE, "de", { "abmelden", "keine nachrichten mehr" } },
    { COMMAND_UNSUBSCRIBE, "es", { "baja", "darme de baja", "no más mensajes" } },
    { COMMAND_UNSUBSCRIBE, "fr", { "désabonner", "me désabonner", "plus de messages" } },
    { COMMAND_UNSUBSCRIBE, "pt", { "cancelar mensagens", "sem mensagens" } },
    { COMMAND_UNSUBSCRIBE, "it", { "disiscrivimi", "niente messaggi" } },
    { COMMAND_UNSUBSCRIBE, "tr", { "mesaj istemiyorum" } },
    { COMMAND_UNSUBSCRIBE, "ar", { "إلغاء الاشتراك", "الغاء الاشتراك" } },
    { COMMAND_UNSUBSCRIBE, "hi", { "संदेश बंद करो", "संदेश बंद" } },
    { COMMAND_START, NULL, { "start", "unstop", "subscribe" } },
    { COMMAND_START, "de", { "starten", "anmelden" } },
    { COMMAND_START, "es", { "empezar", "reanudar" } },
    { COMMAND_START, "fr", { "démarrer", "reprendre", "demarrer" } },
    { COMMAND_START, "pt", { "começar", "retomar", "comecar" } },
    { COMMAND_START, "it", { "inizia", "riprendi" } },
    { COMMAND_START, "tr", { "başla", "başlat", "basla" } },
    { COMMAND_START, "ar", { "ابدأ", "ابدا" } },
    { COMMAND_START, "hi", { "शुरू", "शुरू करो" } },
    { COMMAND_UNDO, NULL, { "undo", "undo it", "undo that", "take it back" } },
    { COMMAND_UNDO, "de", { "rückgängig", "rückgängig machen", "rueckgaengig" } },
    { COMMAND_UNDO, "es", { "deshacer", "deshazlo" } },
    { COMMAND_UNDO, "fr", { "annuler", "annule" } },
    { COMMAND_UNDO, "pt", { "desfazer" } },
    { COMMAND_UNDO, "it", { "annulla" } },
    { COMMAND_UNDO, "tr", { "geri al" } },
    { COMMAND_UNDO, "ar", { "تراجع" } },
    { COMMAND_UNDO, "hi", { "वापस लो" } },
    { COMMAND_LEAVE,
      NULL,
      { "exit", "quit", "feedback", "stop roleplay", "stop the roleplay", "stop role play", "end roleplay",
        "end the roleplay", "end role play", "exit roleplay", "leave roleplay", "quit roleplay", "give me feedback",
        "roleplay stop", "roleplay off", "end of roleplay" } },
    { COMMAND_LEAVE,
      "de",
      { "ende", "rollenspiel beenden", "rollenspiel ende", "rollenspiel stoppen", "rückmeldung" } },
    { COMMAND_LEAVE, "es", { "salir", "fin del juego de rol", "terminar el juego de rol", "comentarios" } },
    { COMMAND_LEAVE, "fr", { "sortir", "quitter", "fin du jeu de rôle", "arrêter le jeu de rôle" } },
    { COMMAND_LEAVE, "pt", { "sair", "terminar a simulação", "parar a simulação", "fim da simulação" } },
    { COMMAND_LEAVE, "it", { "esci", "fine", "fine simulazione", "riscontro" } },
    { COMMAND_LEAVE, "tr", { "çık", "çıkış", "rol bitti", "geri bildirim" } },
    { COMMAND_LEAVE, "ar", { "خروج", "إنهاء التمثيل", "ملاحظات" } },
    { COMMAND_LEAVE, "hi", { "बाहर", "रोलप्ले बंद करो", "प्रतिक्रिया" } },
    { COMMAND_YES,
      NULL,
      { "ok", "okay", "yes", "sure", "yep", "show me", "send it", "go ahead", "ready", "im ready", "thanks",
        "thank you", "got it", "hi", "hello", "show it", "show", "send" } },
    { COMMAND_YES, "de", { "ja", "gerne", "ja gerne", "danke", "hallo", "her damit" } },
    { COMMAND_YES, "es", { "sí", "si", "vale", "gracias", "hola" } },
    { COMMAND_YES, "fr", { "oui", "merci", "daccord", "bonjour" } },
    { COMMAND_YES, "pt", { "sim", "obrigado", "obrigada", "olá" } },
    { COMMAND_YES, "it", { "sì", "va bene", "grazie", "ciao" } },
    { COMMAND_YES, "tr", { "evet", "tamam", "teşekkürler", "merhaba" } },
    { COMMAND_YES, "ar", { "نعم", "حسنا", "شكرا", "مرحبا" } },
    { COMMAND_YES, "hi", { "हाँ", "हां", "ठीक है", "धन्यवाद", "नमस्ते" } },
};

static const struct command_phrase leading_phrases[] = {
    { COMMAND_DONE, NULL, { "done" } },
    { COMMAND_DONE, "de", { "erledigt", "fertig", "abgeschlossen" } },
    { COMMAND_DONE, "es", { "hecho", "listo", "terminado" } },
    { COMMAND_DONE, "fr", { "cest fait", "fait", "terminé", "termine" } },
    { COMMAND_DONE, "pt", { "feito", "pronto", "concluído", "concluido" } },
    { COMMAND_DONE, "it", { "fatto", "finito" } },
    { COMMAND_DONE, "tr", { "bitti", "tamamlandı", "yapıldı" } },
    { COMMAND_DONE, "ar", { "تم", "انتهى", "انتهيت" } },
    { COMMAND_DONE, "hi", { "हो गया", "पूरा हुआ", "पूरा हो गया" } },
    { COMMAND_CHANGE, NULL, { "change", "correction" } },
    { COMMAND_CHANGE, "de", { "ändere", "ändern", "korrektur", "aendern" } },
    { COMMAND_CHANGE, "es", { "cambia", "cambiar", "corrige" } },
    { COMMAND_CHANGE, "fr", { "changer", "modifier", "corriger" } },
    { COMMAND_CHANGE, "pt", { "mudar", "alterar", "corrigir" } },
    { COMMAND_CHANGE, "it", { "cambiare", "correggi", "modifica" } },
    { COMMAND_CHANGE, "tr", { "değiştir", "düzelt" } },
    { COMMAND_CHANGE, "ar", { "غير", "تغيير", "تعديل" } },
    { COMMAND_CHANGE, "hi", { "बदलो", "बदलें", "सुधारो" } },
};

static const char *const polite_words[] = { "please", "pls", "bitte", "mal", "coach", "svp", "lütfen", "فضلك", "कृपया" };

/* Words by which a language shows, each with a blank before and after. */
static const char *const common_words[COACH_LANGUAGES][14] = {
    { " the ", " and ", " is ", " they ", " to ", " what ", " how ", " it ", " with ", " my ", " you ", " i ", " of ",
      " for " },
    { " der ", " die ", " das ", " und ", " ist ", " sie ", " ich ", " wie ", " nicht ", " mit ", " wir ", " ein ",
      " für ", " zu " },
    { " el ", " los ", " las ", " es ", " qué ", " cómo ", " con ", " y ", " una ", " para ", " muy ", " pero ",
      " les ", " mi " },
    { " le ", " les ", " est ", " et ", " je ", " ils ", " avec ", " pour ", " comment ", " une ", " pas ", " nous ",
      " du ", " mon " },
    { " o ", " os ", " não ", " com ", " uma ", " para ", " eles ", " como ", " muito ", " mas ", " eu ", " um ",
      " da ", " ele " },
    { " il ", " che ", " e ", " è ", " con ", " per ", " non ", " una ", " di ", " come ", " ma ", " loro ", " gli ",
      " mi " },
    { " ve ", " bir ", " bu ", " için ", " çok ", " ne ", " nasıl ", " ile ", " de ", " mi ", " var ", " ama ", " ben ",
      " onlar " },
};

/* --- finding them ------------------------------------------------------------------------------------------------- */

static bool is_polite(const char *word)
{
    for (size_t i = 0; i < LENGTH(polite_words); i++)
        if (strcmp(word, polite_words[i]) == 0)
            return true;
    return false;
}

/* The text's words, parted by blanks, without the polite ones; "" when nothing else is left. */
static const char *bare_words(const char *text, struct arena *arena)
{
    char *words = arena_alloc(arena, 2 * strlen(text) + 2), *out = words;
    struct word word;
    for (; word_next(text, &word); text = word.to) {
        if (is_polite(word.text))
            continue;
        out += out > words ? sprintf(out, " ") : 0;
        out = stpcpy(out, word.text);
    }
    return words;
}

static const struct command_phrase *find_whole(const char *words)
{
    for (const struct command_phrase *phrase = whole_phrases; phrase < whole_phrases + LENGTH(whole_phrases); phrase++)
        for (size_t i = 0; i < LENGTH(phrase->words) && phrase->words[i]; i++)
            if (strcmp(words, phrase->words[i]) == 0)
                return phrase;
    return NULL;
}

/* The longest that `words` begins with. */
static const struct command_phrase *find_leading(const char *words, const char **ret_words)
{
    const struct command_phrase *found = NULL;
    size_t longest = 0;
    for (const struct command_phrase *phrase = leading_phrases; phrase < leading_phrases + LENGTH(leading_phrases);
         phrase++)
        for (size_t i = 0; i < LENGTH(phrase->words) && phrase->words[i]; i++) {
            size_t bytes = strlen(phrase->words[i]);
            if (bytes > longest && strncmp(words, phrase->words[i], bytes) == 0
                && (words[bytes] == ' ' || words[bytes] == '\0')) {
                found = phrase;
                longest = bytes;
                *ret_words = phrase->words[i];
            }
        }
    return found;
}

/* Behind the words of `phrase` and what parts them from the rest. */
static const char *rest_behind(const char *text, const char *phrase)
{
    static const char *const between[] = { " ", "\n", "\t", ",", ".", ":", ";", "!", "-", "*", "–", "—", "،", "…" };
    struct word word = { .to = text };
    for (const char *at = phrase; at; at = strchr(at, ' '), at = at ? at + 1 : NULL)
        if (!word_next(word.to, &word))
            return "";
    const char *rest = word.to;
    for (size_t i = 0; i < LENGTH(between);) {
        size_t bytes = strlen(between[i]);
        bool stands = strncmp(rest, between[i], bytes) == 0;
        rest += stands ? bytes : 0;
        i = stands ? 0 : i + 1;
    }
    return rest;
}

struct command command_read(const char *text, struct arena *arena)
{
    const char *words = bare_words(text, arena), *led = "";
    const struct command_phrase *found = find_whole(words);
    if (found)
        return (struct command){ found->kind, "", found->language };
    if (*words == '\0' && *text && !text_is_question(text))
        return (struct command){ COMMAND_YES, "", NULL };
    found = find_leading(words, &led);
    bool asks = found && text_is_question(text) && (found->language || found->kind != COMMAND_DONE);
    if (!found || asks)
        return (struct command){ COMMAND_NONE, "", NULL };
    return (struct command){ found->kind, rest_behind(text, led), found->language };
}

/* --- what else words say ------------------------------------------------------------------------------------------ */

bool text_is_question(const char *text)
{
    static const char *const marks[] = { "?", "؟", "？" };
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(" \n!.", text[bytes - 1]))
        bytes--;
    for (size_t i = 0; i < LENGTH(marks); i++)
        if (bytes >= strlen(marks[i]) && memcmp(text + bytes - strlen(marks[i]), marks[i], strlen(marks[i])) == 0)
            return true;
    return false;
}

static int count_common(const char *words, size_t language)
{
    int count = 0;
    for (size_t i = 0; i < LENGTH(common_words[language]) && common_words[language][i]; i++)
        count += strstr(words, common_words[language][i]) != NULL;
    return count;
}

const char *text_language(const char *text, struct arena *arena)
{
    const char *words = plain_words(arena, text), *found = NULL;
    int most = 0;
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at, next = (unsigned char)at[1];
        if (c >= 0xD8 && c <= 0xDB)             /* U+0600 to U+06FF */
            return "ar";
        if (c == 0xE0 && (next == 0xA4 || next == 0xA5))        /* Devanagari */
            return "hi";
    }
    for (size_t i = 0; i < COACH_LANGUAGES; i++) {
        int count = count_common(words, i);
        if (count == most)
            found = NULL;
        if (count > most) {
            most = count;
            found = coach_languages[i];
        }
    }
    return found;
}
