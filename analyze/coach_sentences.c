/* coach_sentences.c: what the coach says without a model, in the languages its commands are understood in.  The
 * commands themselves are told in English, which everybody may use. */
#include "analyze/coach.h"

#include <string.h>

const char *const coach_languages[COACH_LANGUAGES] = { "en", "de", "es", "fr", "pt", "it", "tr", "ar", "hi" };

static const char *const sentences[SENTENCES][COACH_LANGUAGES] = {
    [SAY_HELP] = {
        "Write or speak to me about your meetings: ask for advice, or practise an objection with me (\"roleplay\").\n"
        "*plan*: the plan of your meeting\n*next*: what comes next\n*done* and how it went: completes a meeting\n"
        "*change* and the new text, *undo*: mend a note\n*stop*, *start*: no messages, messages again",
        "Schreib oder sprich mit mir über deine Termine: Frag um Rat oder übe einen Einwand mit mir (\"roleplay\").\n"
        "*plan*: der Plan für deinen Termin\n*next*: was als Nächstes kommt\n*done* und wie es lief: schließt einen"
        " Termin ab\n"
        "*change* und der neue Text, *undo*: berichtigt eine Notiz\n*stop*, *start*: keine Nachrichten, wieder"
        " Nachrichten",
        "Escríbeme o háblame de tus reuniones: pide consejo o practica una objeción conmigo (\"roleplay\").\n"
        "*plan*: el plan de tu reunión\n*next*: lo que viene\n*done* y cómo fue: cierra una reunión\n"
        "*change* y el texto nuevo, *undo*: corrige una nota\n*stop*, *start*: sin mensajes, mensajes otra vez",
        "Écrivez-moi ou parlez-moi de vos rendez-vous : demandez conseil ou travaillez une objection avec moi («"
        " roleplay »).\n"
        "*plan* : le plan du rendez-vous\n*next* : la suite\n*done* et le résultat : clôt un rendez-vous\n"
        "*change* et le nouveau texte, *undo* : corrige une note\n*stop*, *start* : plus de messages, de nouveau"
        " des messages",
        "Escreva ou fale comigo sobre as suas reuniões: peça conselhos ou pratique uma objeção comigo (\"roleplay\").\n"
        "*plan*: o plano da reunião\n*next*: o que vem a seguir\n*done* e como correu: conclui uma reunião\n"
        "*change* e o novo texto, *undo*: corrige uma nota\n*stop*, *start*: sem mensagens, mensagens de novo",
        "Scrivimi o parlami dei tuoi incontri: chiedi un consiglio o prova con me un'obiezione (\"roleplay\").\n"
        "*plan*: il piano dell'incontro\n*next*: che cosa viene dopo\n*done* e com'è andata: chiude un incontro\n"
        "*change* e il nuovo testo, *undo*: corregge una nota\n*stop*, *start*: niente messaggi, di nuovo messaggi",
        "Toplantıların hakkında bana yaz ya da konuş: tavsiye iste veya benimle bir itirazı prova et (\"roleplay\").\n"
        "*plan*: toplantının planı\n*next*: sıradaki\n*done* ve nasıl geçtiği: toplantıyı tamamlar\n"
        "*change* ve yeni metin, *undo*: notu düzeltir\n*stop*, *start*: mesaj yok, yeniden mesaj",
        "اكتب لي أو كلمني عن اجتماعاتك: اطلب نصيحة أو تدرب معي على اعتراض (\"roleplay\").\n"
        "*plan*: خطة اجتماعك\n*next*: ما التالي\n*done* وكيف سار: ينهي الاجتماع\n"
        "*change* والنص الجديد، *undo*: تصحيح ملاحظة\n*stop*، *start*: بلا رسائل، الرسائل من جديد",
        "अपनी बैठकों के बारे में मुझे लिखें या बोलें: सलाह माँगें या मेरे साथ किसी आपत्ति का अभ्यास करें"
        " (\"roleplay\")।\n"
        "*plan*: बैठक की योजना\n*next*: आगे क्या है\n*done* और कैसी रही: बैठक पूरी करता है\n"
        "*change* और नया पाठ, *undo*: नोट सुधारता है\n*stop*, *start*: संदेश बंद, संदेश फिर से",
    },
    [SAY_NEXT] = {
        "Next: {meeting}, {when}.", "Als Nächstes: {meeting}, {when}.", "Lo próximo: {meeting}, {when}.",
        "Prochain rendez-vous : {meeting}, {when}.", "A seguir: {meeting}, {when}.", "Prossimo: {meeting}, {when}.",
        "Sıradaki: {meeting}, {when}.", "التالي: {meeting}، {when}.", "अगली बैठक: {meeting}, {when}।",
    },
    [SAY_UNDER_WAY] = {
        "Under way: {meeting}, since {when}.", "Läuft gerade: {meeting}, seit {when}.", "En curso: {meeting}, desde"
        " {when}.",
        "En cours : {meeting}, depuis {when}.", "A decorrer: {meeting}, desde {when}.", "In corso: {meeting}, dalle"
        " {when}.",
        "Şu anda: {meeting}, başlangıç {when}.", "جارٍ الآن: {meeting}، منذ {when}.", "अभी चल रही है: {meeting},"
        " {when} से।",
    },
    [SAY_NO_MEETING] = {
        "I know of no meeting of yours. Invite me to one in Outlook, and its plan comes here.",
        "Ich kenne keinen Termin von dir. Lade mich in Outlook zu einem ein, dann kommt der Plan hierher.",
        "No conozco ninguna reunión tuya. Invítame a una en Outlook y el plan llegará aquí.",
        "Je ne connais aucun rendez-vous de votre part. Invitez-moi dans Outlook, et le plan arrive ici.",
        "Não conheço nenhuma reunião sua. Convide-me no Outlook e o plano chega aqui.",
        "Non conosco nessun tuo incontro. Invitami in Outlook e il piano arriva qui.",
        "Bildiğim bir toplantın yok. Beni Outlook'ta birine davet et, planı buraya gelsin.",
        "لا أعرف أي اجتماع لك. ادعني إلى اجتماع في Outlook وستصل الخطة هنا.",
        "मुझे आपकी कोई बैठक नहीं पता। Outlook में मुझे किसी बैठक में बुलाएँ, उसकी योजना यहाँ आएगी।",
    },
    [SAY_WHICH] = {
        "Which meeting do you mean? Reply with its number.", "Welchen Termin meinst du? Antworte mit der Nummer.",
        "¿A qué reunión te refieres? Responde con el número.", "De quel rendez-vous s'agit-il ? Répondez avec son"
        " numéro.",
        "A que reunião se refere? Responda com o número.", "Quale incontro intendi? Rispondi con il numero.",
        "Hangi toplantıyı kastediyorsun? Numarasıyla yanıtla.", "أي اجتماع تقصد؟ أجب برقمه.",
        "आपका मतलब किस बैठक से है? उसका नंबर लिखें।",
    },
    [SAY_NOT_BEGUN] = {
        "{meeting} has not begun: it starts {when}. Do you mean another meeting? Write *done* again once it has begun.",
        "{meeting} hat noch nicht begonnen: Beginn {when}. Meinst du einen anderen Termin? Schreib *done*, wenn er"
        " begonnen hat.",
        "{meeting} no ha empezado: empieza {when}. ¿Te refieres a otra reunión? Escribe *done* cuando haya empezado.",
        "{meeting} n'a pas commencé : début {when}. S'agit-il d'un autre rendez-vous ? Écrivez *done* quand il aura"
        " commencé.",
        "{meeting} ainda não começou: começa {when}. Refere-se a outra reunião? Escreva *done* quando tiver começado.",
        "{meeting} non è ancora iniziato: inizio {when}. Intendi un altro incontro? Scrivi *done* quando sarà"
        " iniziato.",
        "{meeting} henüz başlamadı: başlangıç {when}. Başka bir toplantıyı mı kastediyorsun? Başlayınca *done* yaz.",
        "{meeting} لم يبدأ بعد: يبدأ {when}. هل تقصد اجتماعا آخر؟ اكتب *done* بعد أن يبدأ.",
        "{meeting} अभी शुरू नहीं हुई: शुरुआत {when}। क्या आपका मतलब किसी और बैठक से है? शुरू होने पर *done* लिखें।",
    },
    [SAY_ALREADY_NOTED] = {
        "{meeting} is noted already. *change* and the new text replaces the note, *undo* takes it back.",
        "{meeting} ist schon notiert. *change* und der neue Text ersetzt die Notiz, *undo* nimmt sie zurück.",
        "{meeting} ya está anotada. *change* y el texto nuevo cambia la nota, *undo* la retira.",
        "{meeting} est déjà noté. *change* et le nouveau texte remplace la note, *undo* la retire.",
        "{meeting} já está anotada. *change* e o novo texto substitui a nota, *undo* retira-a.",
        "{meeting} è già annotato. *change* e il nuovo testo sostituisce la nota, *undo* la ritira.",
        "{meeting} zaten not edildi. *change* ve yeni metin notu değiştirir, *undo* geri alır.",
        "{meeting} مسجل بالفعل. *change* والنص الجديد يستبدل الملاحظة، و*undo* يسحبها.",
        "{meeting} पहले ही दर्ज है। *change* और नया पाठ नोट बदलता है, *undo* उसे वापस लेता है।",
    },
    [SAY_NOTHING_TO_COMPLETE] = {
        "There is no meeting to complete.", "Es gibt keinen Termin abzuschließen.", "No hay ninguna reunión que"
        " cerrar.",
        "Il n'y a pas de rendez-vous à clore.", "Não há reunião para concluir.", "Non c'è nessun incontro da chiudere.",
        "Tamamlanacak bir toplantı yok.", "لا يوجد اجتماع لإنهائه.", "पूरी करने के लिए कोई बैठक नहीं है।",
    },
    [SAY_NOTHING_TO_MEND] = {
        "Nothing was noted lately that could be changed.", "Zuletzt wurde nichts notiert, was sich ändern ließe.",
        "No hay ninguna nota reciente que cambiar.", "Il n'y a pas de note récente à modifier.",
        "Não há nota recente para alterar.", "Non c'è nessuna nota recente da modificare.",
        "Değiştirilecek yeni bir not yok.", "لا توجد ملاحظة حديثة لتغييرها.", "बदलने के लिए कोई हाल का नोट नहीं है।",
    },
    [SAY_CHANGE_HOW] = {
        "Write *change* and then what shall stand in the note of {meeting}.",
        "Schreib *change* und dann, was in der Notiz zu {meeting} stehen soll.",
        "Escribe *change* y después lo que debe decir la nota de {meeting}.",
        "Écrivez *change* puis ce que la note de {meeting} doit dire.",
        "Escreva *change* e depois o que a nota de {meeting} deve dizer.",
        "Scrivi *change* e poi che cosa deve dire la nota di {meeting}.",
        "*change* yaz, ardından {meeting} notunda ne olacağını yaz.",
        "اكتب *change* ثم ما يجب أن تقوله ملاحظة {meeting}.", "*change* लिखें और फिर वह जो {meeting} के नोट में"
        " होना चाहिए।",
    },
    [SAY_NO_PLAN] = {
        "There is no plan for {meeting} yet.", "Für {meeting} gibt es noch keinen Plan.", "Todavía no hay plan para"
        " {meeting}.",
        "Il n'y a pas encore de plan pour {meeting}.", "Ainda não há plano para {meeting}.",
        "Non c'è ancora un piano per {meeting}.", "{meeting} için henüz plan yok.", "لا توجد خطة بعد لـ {meeting}.",
        "{meeting} के लिए अभी कोई योजना नहीं है।",
    },
    [SAY_MEDIA] = {
        "Thank you! I can read text and listen to voice notes, but not open this. Could you write or say it?",
        "Danke! Ich kann Text lesen und Sprachnachrichten hören, das hier aber nicht öffnen. Schreibst oder sagst"
        " du es mir?",
        "¡Gracias! Puedo leer texto y escuchar notas de voz, pero no abrir esto. ¿Me lo escribes o me lo dices?",
        "Merci ! Je lis les textes et j'écoute les messages vocaux, mais je ne peux pas ouvrir ceci. Pouvez-vous"
        " l'écrire ou le dire ?",
        "Obrigado! Leio texto e ouço mensagens de voz, mas não consigo abrir isto. Pode escrever ou dizer?",
        "Grazie! Leggo i testi e ascolto i vocali, ma questo non posso aprirlo. Me lo scrivi o me lo dici?",
        "Teşekkürler! Metin okuyabilir ve sesli mesaj dinleyebilirim ama bunu açamam. Yazar ya da söyler misin?",
        "شكرا! أقرأ النصوص وأستمع إلى الرسائل الصوتية، لكني لا أستطيع فتح هذا. هل تكتبه أو تقوله؟",
        "धन्यवाद! मैं पाठ पढ़ सकता हूँ और वॉइस नोट सुन सकता हूँ, पर इसे नहीं खोल सकता। क्या आप इसे लिख या बोल सकते"
        " हैं?",
    },
    [SAY_NO_WORDS] = {
        "I could not hear any words in your voice note. Please say it again or write it.",
        "In deiner Sprachnachricht waren keine Worte zu verstehen. Bitte sprich sie noch einmal oder schreib.",
        "No he oído palabras en tu nota de voz. Dilo otra vez o escríbelo, por favor.",
        "Je n'ai entendu aucun mot dans votre message vocal. Redites-le ou écrivez-le, s'il vous plaît.",
        "Não ouvi palavras na sua mensagem de voz. Diga outra vez ou escreva, por favor.",
        "Non ho sentito parole nel tuo vocale. Ripetilo o scrivilo, per favore.",
        "Sesli mesajında söz duyamadım. Lütfen yeniden söyle ya da yaz.",
        "لم أسمع أي كلمات في رسالتك الصوتية. من فضلك قلها مرة أخرى أو اكتبها.",
        "आपके वॉइस नोट में कोई शब्द सुनाई नहीं दिया। कृपया फिर से बोलें या लिखें।",
    },
    [SAY_TELL_OUTCOME] = {
        "If the meeting is over, write *done* and how it went, and I note it.",
        "Wenn der Termin vorbei ist, schreib *done* und wie es lief, dann notiere ich es.",
        "Si la reunión terminó, escribe *done* y cómo fue, y lo anoto.",
        "Si le rendez-vous est terminé, écrivez *done* et le résultat, et je le note.",
        "Se a reunião acabou, escreva *done* e como correu, e eu anoto.",
        "Se l'incontro è finito, scrivi *done* e com'è andata, e lo annoto.",
        "Toplantı bittiyse *done* ve nasıl geçtiğini yaz, not edeyim.",
        "إذا انتهى الاجتماع فاكتب *done* وكيف سار وسأسجله.", "अगर बैठक खत्म हो गई है तो *done* और कैसी रही लिखें,"
        " मैं दर्ज कर लूँगा।",
    },
    [SAY_STOP_AGAIN] = {
        "The roleplay is over. To get no more messages, write *stop* once more.",
        "Das Rollenspiel ist beendet. Wenn du keine Nachrichten mehr willst, schreib noch einmal *stop*.",
        "El juego de rol terminó. Para no recibir más mensajes, escribe *stop* otra vez.",
        "Le jeu de rôle est terminé. Pour ne plus recevoir de messages, écrivez *stop* encore une fois.",
        "A simulação terminou. Para não receber mais mensagens, escreva *stop* outra vez.",
        "La simulazione è finita. Per non ricevere più messaggi, scrivi *stop* ancora una volta.",
        "Rol yapma bitti. Artık mesaj almak istemiyorsan bir kez daha *stop* yaz.",
        "انتهى التمثيل. لإيقاف الرسائل اكتب *stop* مرة أخرى.", "रोलप्ले समाप्त। और संदेश न चाहें तो एक बार फिर"
        " *stop* लिखें।",
    },
    [SAY_NO_MODEL] = {
        "No language model is configured, so here is what the plan of {meeting} says to this:",
        "Es ist kein Sprachmodell eingerichtet; das sagt der Plan für {meeting} dazu:",
        "No hay un modelo de lenguaje configurado; esto dice el plan de {meeting}:",
        "Aucun modèle de langage n'est configuré ; voici ce qu'en dit le plan de {meeting} :",
        "Não há modelo de linguagem configurado; isto diz o plano de {meeting}:",
        "Nessun modello linguistico è configurato; il piano di {meeting} dice:",
        "Bir dil modeli kurulu değil; {meeting} planı buna şunu diyor:", "لا يوجد نموذج لغوي مهيأ؛ هذا ما تقوله خطة"
        " {meeting}:",
        "कोई भाषा मॉडल नहीं लगा है; {meeting} की योजना इस पर यह कहती है:",
    },
};

static size_t language_index(const char *language)
{
    for (size_t i = 0; language && i < COACH_LANGUAGES; i++)
        if (strncasecmp(language, coach_languages[i], 2) == 0 && (language[2] == '\0' || language[2] == '-'))
            return i;
    return 0;
}

const char *sentence(struct arena *arena, const char *language, enum sentence which,
                     const struct coach_meeting *meeting)
{
    const struct coach_slot slots[] = {
        { "meeting", meeting ? meeting_label(meeting, arena) : "" },
        { "when", meeting ? meeting->when : "" },
        { 0 },
    };
    return coach_fill(arena, sentences[which][language_index(language)], slots);
}
