"""Which mailbox is for what: a person's word first, then the server's flags (RFC 6154), then the name (contract, 6).

A use belongs to one mailbox at most. Names are looked at only for a use that no mailbox has a flag for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

from postbus.imap_sync.protocol.values import ListedMailbox

Source = Literal["user", "extension", "name"]
Uses = dict[str, tuple[str, Source]]  # path → special use and how we know

INBOX = "\\Inbox"

_BY_FLAG = {
    "\\all": "\\All",
    "\\archive": "\\Archive",
    "\\drafts": "\\Drafts",
    "\\flagged": "\\Flagged",
    "\\important": "\\Important",
    "\\junk": "\\Junk",
    "\\sent": "\\Sent",
    "\\trash": "\\Trash",
}
# Leaf names as mail programs and providers make them, in lower case and NFKC.
_NAMES: dict[str, str] = {
    "\\Sent": (
        "sent|sent mail|sent items|sent messages|sent-mail|sentbox|gesendet|gesendete objekte|gesendete elemente|"
        "gesendete nachrichten|gesendete|envoyé|envoyés|envoye|envoyes|éléments envoyés|elements envoyes|"
        "messages envoyés|messages envoyes|courrier envoyé|objets envoyés|enviado|enviados|elementos enviados|"
        "mensajes enviados|correo enviado|itens enviados|mensagens enviadas|e-mails enviados|enviadas|inviato|inviati|"
        "inviata|posta inviata|elementi inviati|messaggi inviati|verzonden|verzonden items|verzonden objecten|"
        "verzonden berichten|skickat|skickade|skickade objekt|skickade meddelanden|sendt|sendte|sendt post|"
        "sendte elementer|sendte beskeder|sendte meldinger|lähetetyt|lähetetyt viestit|saadetud|saadetud kirjad|"
        "saadetud üksused|nosūtītie|nosūtītās vēstules|išsiųsta|išsiųsti|išsiųsti laiškai|wysłane|"
        "elementy wysłane|poczta wysłana|odeslané|odeslaná pošta|odeslané zprávy|odoslané|odoslaná pošta|"
        "odoslané položky|elküldött|elküldött elemek|elküldött üzenetek|trimise|elemente trimise|mesaje trimise|"
        "poslano|poslane poruke|poslana pošta|poslato|изпратени|изпратено|отправленные|отправлено|исходящие|"
        "надіслані|відправлені|надісланi|απεσταλμένα|gönderilmiş|gönderilenler|gönderilmiş öğeler|"
        "gönderilmiş postalar|đã gửi|thư đã gửi|terkirim|item terkirim|dihantar|ส่งแล้ว|จดหมายที่ส่ง|"
        "已发送|已发送邮件|已发邮件|已傳送|寄件備份|寄件匣|送信済み|送信済みメール|送信済みアイテム|送信控え|"
        "보낸 편지함|보낸편지함|보낸 메일함|보낸메일함|נשלח|דואר שנשלח|פריטים שנשלחו|المرسلة|البريد المرسل|"
        "الرسائل المرسلة|العناصر المرسلة|ارسال شده"
    ),
    "\\Trash": (
        "trash|bin|deleted|deleted items|deleted messages|trash can|wastebasket|rubbish|papierkorb|"
        "gelöschte objekte|gelöschte elemente|gelöscht|gelöschte nachrichten|corbeille|éléments supprimés|"
        "elements supprimes|messages supprimés|papelera|elementos eliminados|mensajes eliminados|eliminados|"
        "lixo|lixeira|itens excluídos|itens eliminados|reciclagem|excluídos|cestino|posta eliminata|"
        "elementi eliminati|eliminata|prullenbak|prullenmand|verwijderde items|verwijderd|verwijderde berichten|"
        "papperskorg|papperskorgen|borttaget|borttagna objekt|slettet post|slettede elementer|papirkurv|"
        "søppelkurv|søppel|slettet|roskakori|poistetut|poistetut viestit|prügikast|prügi|kustutatud|"
        "kustutatud üksused|miskaste|atkritne|dzēstās vēstules|šiukšlinė|šiukšliadėžė|ištrinti|kosz|"
        "elementy usunięte|usunięte|koš|odstraněná pošta|kôš|odstránené položky|vymazané|kuka|lomtár|"
        "törölt elemek|törölt üzenetek|coș de gunoi|coş de gunoi|gunoi|elemente șterse|smeće|koš za smeti|"
        "izbrisano|izbrisana pošta|кошче|изтрити|корзина|удаленные|удалённые|кошик|видалені|"
        "κάδος απορριμμάτων|διαγραμμένα|απορρίμματα|çöp|çöp kutusu|silinmiş öğeler|silinmiş postalar|"
        "thùng rác|đã xóa|sampah|tong sampah|ถังขยะ|废件箱|垃圾桶|已删除|已删除邮件|已刪除的郵件|垃圾筒|回收站|"
        "刪除的郵件|ゴミ箱|ごみ箱|削除済みアイテム|휴지통|지운 편지함|지운편지함|אשפה|פריטים שנמחקו|דואר שנמחק|"
        "المهملات|سلة المهملات|العناصر المحذوفة|المحذوفة|زباله دان"
    ),
    "\\Junk": (
        "junk|spam|junk mail|junk e-mail|junk email|bulk mail|bulk|spam mail|junk-e-mail|spamverdacht|"
        "junk-mail|werbung|unerwünscht|unerwünschte werbung|courrier indésirable|indésirables|indesirables|"
        "pourriel|pourriels|courrier indesirable|correo no deseado|no deseado|correo basura|correio eletrônico não "
        "solicitado|lixo eletrônico|lixo eletrónico|lixo electrónico|e-mail de lixo|posta indesiderata|indesiderata|"
        "ongewenste e-mail|ongewenst|ongewenste reclame|skräppost|skräp|uønsket e-post|uønsket mail|uønsket post|"
        "søppelpost|roskaposti|rämpspost|rämps|mēstules|surogātpasts|brukalas|šlamštas|wiadomości-śmieci|"
        "niechciane|wiadomości śmieci|nevyžádaná pošta|nevyžiadaná pošta|nevyžádané|levélszemét|"
        "kéretlen|mesaje nedorite|"
        "neželjena pošta|bezvrijedna pošta|neželena pošta|спам|нежелана поща|нежелательная почта|нежелательные|"
        "небажана пошта|ανεπιθύμητα|ανεπιθύμητη αλληλογραφία|istenmeyen|önemsiz|önemsiz e-posta|istenmeyen posta|"
        "thư rác|spam mail|สแปม|อีเมลขยะ|จดหมายขยะ|垃圾邮件|垃圾郵件|垃圾信件|迷惑メール|スパム|정크 메일|"
        "스팸|스팸메일함|스팸편지함|דואר זבל|ספאם|زبل|البريد العشوائي|البريد غير الهام|هرزنامه"
    ),
    "\\Drafts": (
        "draft|drafts|draft messages|entwurf|entwürfe|brouillon|brouillons|borrador|borradores|rascunho|rascunhos|"
        "bozza|bozze|concept|concepten|utkast|kladde|kladder|luonnos|luonnokset|mustand|mustandid|melnraksti|"
        "uzmetumi|juodraščiai|szkice|kopie robocze|wersje robocze|robocze|koncept|koncepty|rozepsané|piszkozatok|"
        "piszkozat|vázlatok|ciorne|schițe|skice|nacrti|osnutki|чернови|черновик|черновики|чернетки|πρόχειρα|taslak|"
        "taslaklar|bản nháp|thư nháp|draf|konsep|ร่างจดหมาย|แบบร่าง|ร่างข้อความ|草稿|草稿箱|草稿夹|草稿匣|下書き|"
        "下書きメール|임시보관함|임시 보관함|임시 보관 메일|טיוטות|טיוטה|مسودات|المسودات|پیش‌نویس‌ها|پیش نویس ها"
    ),
    "\\Archive": (
        "archive|archives|archived|archiv|archivé|archivés|archivo|archivos|archivados|arquivo|arquivos|arquivo morto|"
        "archivio|archief|arkiv|arkisto|arhiiv|arhīvs|archyvas|archiwum|archív|archívum|archivum|arhivă|arhiva|arhiv|"
        "архив|архів|αρχείο|αρχειοθήκη|arşiv|lưu trữ|arsip|arkib|เก็บถาวร|归档|封存|存档|アーカイブ|보관함|보관|"
        "ארכיון|أرشيف|الأرشيف|بایگانی"
    ),
}
_BY_NAME = {name: use for use, names in _NAMES.items() for name in names.split("|")}
_GENERIC = frozenset({"mail", "mails", "e-mail", "items", "messages", "folder"})  # dropped as a last resort


def assign_special_use(listed: Sequence[ListedMailbox], hints: Mapping[str, str]) -> Uses:
    """The special use of mailboxes, by path. `hints`: use → path, as a person decided it."""
    usable = [mailbox for mailbox in listed if mailbox.selectable]
    uses: Uses = {mailbox.path: (INBOX, "name") for mailbox in usable if mailbox.path == "INBOX"}
    taken = {INBOX}
    _assign_hints(usable, hints, uses, taken)
    _assign_flags(usable, uses, taken)
    _assign_names(usable, uses, taken)
    return uses


def _assign_hints(listed: Sequence[ListedMailbox], hints: Mapping[str, str], uses: Uses, taken: set[str]) -> None:
    paths = {mailbox.path for mailbox in listed}
    for use, path in hints.items():
        if path in paths and path not in uses:
            uses[path] = (use, "user")
            taken.add(use)


def _assign_flags(listed: Sequence[ListedMailbox], uses: Uses, taken: set[str]) -> None:
    """The first mailbox with a flag has it; a mailbox with several flags has the first by name that is free."""
    for mailbox in listed:
        flags = [_BY_FLAG[name] for name in sorted(mailbox.attributes & _BY_FLAG.keys())]
        use = next((flag for flag in flags if flag not in taken), None)
        if use is not None and mailbox.path not in uses:
            uses[mailbox.path] = (use, "extension")
            taken.add(use)


def _assign_names(listed: Sequence[ListedMailbox], uses: Uses, taken: set[str]) -> None:
    """Mailboxes at the top before those further down; exact names before those with generic words left out."""
    by_depth = sorted(listed, key=lambda mailbox: mailbox.path.count(mailbox.delimiter or "\0"))
    leaves = [(mailbox.path, _leaf(mailbox)) for mailbox in by_depth]
    for find in (_use_of, _use_of_core):
        for path, leaf in leaves:
            use = find(leaf)
            if use is not None and use not in taken and path not in uses:
                uses[path] = (use, "name")
                taken.add(use)


def _leaf(mailbox: ListedMailbox) -> str:
    """The last segment in one form: NFKC, without marks of writing direction, lower case."""
    name = mailbox.path.rsplit(mailbox.delimiter, 1)[-1] if mailbox.delimiter else mailbox.path
    visible = name
    if not name.isascii():
        visible = "".join(char for char in unicodedata.normalize("NFKC", name) if unicodedata.category(char) != "Cf")
    return " ".join(visible.lower().split())


def _use_of(leaf: str) -> str | None:
    return _BY_NAME.get(leaf)


def _use_of_core(leaf: str) -> str | None:
    words = [word for word in leaf.split() if word not in _GENERIC]
    return _BY_NAME.get(" ".join(words)) if words else None
