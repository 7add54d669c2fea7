"""What the simulated support agent does for each intent: what it looks up, which write it may make, what it says.

The tool names are the demo bank's. Where a tool is not offered, the step is left out, so the model also plays with
other tools or with none.
"""

from dataclasses import dataclass

GET_ACCOUNT = "get_account"
LIST_TRANSACTIONS = "list_transactions"
SEARCH_HELP = "search_help"
SEND_REPLY = "send_reply"
FREEZE_CARD = "freeze_card"
REFUND = "refund"
CLOSE_ACCOUNT = "close_account"
ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class Play:
    """``reads`` are asked together at the beginning; ``write`` is the one write before the reply, if any."""

    reads: tuple[str, ...]
    write: str | None = None
    opening: str = "Thank you for your question."


_HELP = (SEARCH_HELP,)
_ACCOUNT = (GET_ACCOUNT, SEARCH_HELP)
_MONEY = (GET_ACCOUNT, LIST_TRANSACTIONS, SEARCH_HELP)

_INFORMATION = Play(_HELP)
_PERSONAL = Play(_ACCOUNT, opening="I have looked at your account.")
_MOVEMENT = Play(_MONEY, opening="I have looked at your recent transactions.")
_SAFETY = Play(_ACCOUNT, FREEZE_CARD, "I am sorry to hear that; your card's safety comes first.")
_FRAUD = Play(_MONEY, FREEZE_CARD, "I am sorry; a payment you do not recognise is taken seriously.")
_REPAY = Play(_MONEY, REFUND, "I am sorry about this charge; I have checked it.")
_CLOSING = Play(_ACCOUNT, CLOSE_ACCOUNT, "I am sorry that you want to leave.")

_FAMILIES: dict[str, Play] = {
    "lost_or_stolen_card compromised_card lost_or_stolen_phone": _SAFETY,
    "card_payment_not_recognised cash_withdrawal_not_recognised": _FRAUD,
    "transaction_charged_twice wrong_amount_of_cash_received request_refund direct_debit_payment_not_recognised "
    "extra_charge_on_statement": _REPAY,
    "terminate_account": _CLOSING,
    "Refund_not_showing_up reverted_card_payment? balance_not_updated_after_bank_transfer "
    "balance_not_updated_after_cheque_or_cash_deposit pending_card_payment pending_cash_withdrawal pending_top_up "
    "pending_transfer top_up_failed top_up_reverted failed_transfer declined_transfer declined_card_payment "
    "declined_cash_withdrawal transfer_not_received_by_recipient transfer_timing cancel_transfer transfer_fee_charged "
    "card_payment_fee_charged card_payment_wrong_exchange_rate wrong_exchange_rate_for_cash_withdrawal "
    "cash_withdrawal_charge top_up_by_card_charge top_up_by_bank_transfer_charge exchange_charge": _MOVEMENT,
    "card_arrival card_delivery_estimate card_linking activate_my_card card_about_to_expire card_not_working "
    "card_swallowed contactless_not_working virtual_card_not_working pin_blocked change_pin passcode_forgotten "
    "edit_personal_details verify_my_identity unable_to_verify_identity verify_source_of_funds verify_top_up "
    "beneficiary_not_allowed top_up_limits disposable_card_limits get_physical_card order_physical_card "
    "getting_spare_card getting_virtual_card get_disposable_virtual_card": _PERSONAL,
    "age_limit apple_pay_or_google_pay atm_support automatic_top_up card_acceptance country_support exchange_rate "
    "exchange_via_app fiat_currency_support receiving_money supported_cards_and_currencies top_up_by_cash_or_cheque "
    "topping_up_by_card transfer_into_account visa_or_mastercard why_verify_identity": _INFORMATION,
}

PLAYS: dict[str, Play] = {intent: play for intents, play in _FAMILIES.items() for intent in intents.split()}


def play_for(intent: str) -> Play:
    """The play of an intent; an intent that is not in the book is answered from the help pages."""
    return PLAYS.get(intent, _INFORMATION)
